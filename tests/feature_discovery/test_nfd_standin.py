"""The stand-in for Node Feature Discovery against the table of its releases' rules."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from testkit.standins.nfd import RULES, Worker, is_qualified_name, is_value

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
ALL = ("v0.11", "v0.14", "v0.15", "v0.19")
LATER = ALL[1:]
KEY = "feature.node.kubernetes.io/a"
PAST, FUTURE = "# +expiry-time=2026-05-04T11:59:59Z\n", "# +expiry-time=2026-05-04T13:00:00.5Z\n"


def written(directory: Path, text: str | bytes, name: str = "file", mode: int = 0o644) -> Path:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def names(directory: Path, version: str) -> str:
    """The last letters of the labels that arrive, each of which has the value 1."""
    labels = Worker(directory, version).discover(NOW).labels
    assert set(labels.values()) <= {"1"}
    return "".join(sorted(key[-1] for key in labels))


def test_every_release_the_table_speaks_of_has_its_rules() -> None:
    assert tuple(RULES) == ALL


@pytest.mark.parametrize(
    ("text", "v11", "v14", "v15"),
    [
        (f"{KEY}=1\nb=1\n", "ab", "ab", "ab"),
        ("a=2\na=1\n", "a", "a", "a"),
        ("a=1=1\n", "", "", ""),
        ("a =1\nb= 1\n", "", "", ""),
        ("a=1 \nb=1\r\nc=1\t\nd=1\u2003\ne=1\n", "e", "abcde", "abcde"),
        ("# by hand\na=1\n", "a", "a", "a"),
        (b"a=\xff\xfe\nb=1\n", "b", "b", "b"),
        (f"a=1\n{PAST}b=1\n{FUTURE}c=1\n", "abc", "ac", "ac"),
        ("# +expiry-time=2026-05-04T12:00:00Z\na=1\n", "a", "a", "a"),
        ("# +expiry-time=2026-05-04T13:00:00+02:00\na=1\n", "a", "", ""),
        *((f"{PAST}# +expiry-time={time}\na=1\n", "a", "", "") for time in ("tomorrow", "2026-05-04 13:00:00Z", "")),
        ("# +no-label\na=1\nb=1\n# +no-feature\nc=1\n", "abc", "abc", "bc"),
        ("# +colour=blue\na=1\n", "a", "a", "a"),
        ("a=1".ljust(65536, "\n"), "a", "a", "a"),
        ("a=1".ljust(65537, "\n"), "a", "", ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_a_file_says_by_release(tmp_path: Path, text: str | bytes, v11: str, v14: str, v15: str) -> None:
    written(tmp_path, text)
    assert [names(tmp_path, version) for version in ALL] == [v11, v14, v15, v15]


def test_no_value_is_true_and_an_empty_value_is_one(tmp_path: Path) -> None:
    written(tmp_path, "a\nb=\n")
    labels = Worker(tmp_path, "v0.11").discover(NOW).labels
    assert labels == {KEY: "true", "feature.node.kubernetes.io/b": ""}


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("a=1\n", (0, 0, 0)),
        ("# by hand\na=1\n", (1, 0, 0)),
        ("a =1\nb= 1\n", (2, 2, 2)),
        ("# +colour=blue\n", (1, 1, 1)),
        (f"{PAST}# +expiry-time=tomorrow\n", (1, 1, 1)),
        ("# +no-label\na=1\n", (1, 1, 0)),
        ("a=1".ljust(65537, "\n"), (0, 1, 1)),
    ],
)
def test_whatever_is_not_taken_is_logged(tmp_path: Path, text: str, complaints: tuple[int, int, int]) -> None:
    written(tmp_path, text)
    assert tuple(len(Worker(tmp_path, version).discover(NOW).log) for version in ALL[:3]) == complaints


# Files


@pytest.mark.parametrize("version", ALL)
def test_which_files_are_read(tmp_path: Path, version: str) -> None:
    directory, elsewhere = tmp_path / "features.d", tmp_path / "elsewhere"
    for each in ("sub", ".sub"):
        (directory / each).mkdir(parents=True)
        written(directory / each, "x=1\n")
    elsewhere.mkdir()
    (directory / "link").symlink_to(written(elsewhere, "a=1\n"))
    (directory / "dangling").symlink_to(tmp_path / "nowhere")
    written(directory, "b=1\n", ".dot-file")
    for mode in (0o600, 0o640, 0o000):
        written(directory, "x=1\n", f"file-{mode}", mode)
    assert names(directory, version) == ("ab" if version in {"v0.11", "v0.14"} else "a")
    assert len(Worker(directory, version).discover(NOW).log) == 4  # the link to nothing, and what others may not read


def test_a_later_file_wins_and_the_log_says_so(tmp_path: Path) -> None:
    written(tmp_path, "a=2\n", "10")
    written(tmp_path, "a=1\n", "9")
    assert names(tmp_path, "v0.19") == "a"
    assert len(Worker(tmp_path, "v0.19").discover(NOW).log) == 1
    assert Worker(tmp_path / "gone", "v0.19").discover(NOW).labels == {}


# Namespaces, names and values


@pytest.mark.parametrize(
    ("key", "extra", "taken_by"),
    [
        ("feature.node.kubernetes.io/x", (), ALL),
        ("profile.node.kubernetes.io/x", (), ALL),
        ("sub.feature.node.kubernetes.io/x", (), ALL),
        ("beta.furiosa.ai/x", (), LATER),
        ("beta.furiosa.ai/x", ("beta.furiosa.ai",), ALL),
        ("beta.furiosa.ai/x", ("furiosa.ai",), LATER),
        ("kubernetes.io/x", (), ()),
        ("node.kubernetes.io/x", (), ()),
        ("node.kubernetes.io/x", ("node.kubernetes.io",), ALL),
    ],
)
def test_namespaces_are_taken_by_release(
    tmp_path: Path, key: str, extra: tuple[str, ...], taken_by: tuple[str, ...]
) -> None:
    written(tmp_path, f"{key}=1\n")
    takes = [version for version in ALL if Worker(tmp_path, version, extra_label_ns=extra).discover(NOW).labels]
    assert tuple(takes) == taken_by


@pytest.mark.parametrize(
    ("denied", "extra", "is_taken"),
    [
        (("beta.furiosa.ai",), (), False),
        (("*.furiosa.ai",), (), False),
        (("furiosa.ai",), (), True),
        (("*.furiosa.ai",), ("beta.furiosa.ai",), True),
    ],
)
def test_namespaces_can_be_denied_and_allowed_again(
    tmp_path: Path, denied: tuple[str, ...], extra: tuple[str, ...], *, is_taken: bool
) -> None:
    written(tmp_path, "beta.furiosa.ai/x=1\n")
    worker = Worker(tmp_path, "v0.19", deny_label_ns=denied, extra_label_ns=extra)
    assert bool(worker.discover(NOW).labels) is is_taken


def test_a_white_list_looks_at_the_name_alone(tmp_path: Path) -> None:
    written(tmp_path, "beta.furiosa.ai/npu.count=1\nbeta.furiosa.ai/machine.name=x\n")
    found = Worker(tmp_path, "v0.19", white_list="^npu").discover(NOW).labels
    assert found == {"beta.furiosa.ai/npu.count": "1"}


def test_values_that_kubernetes_takes() -> None:
    assert all(map(is_value, ["", "a", "A-b_c.9", "0", "a" * 63, "a--b"]))
    assert not any(map(is_value, ["-", "a-", ".a", "a b", "a/b", "é", "a" * 64, "a\n"]))


def test_names_that_kubernetes_takes() -> None:
    assert all(map(is_qualified_name, ["a", "b/a", "b.c-d/A_1", f"{'b' * 253}/a", f"b/{'a' * 63}"]))
    wrong = ["", "/a", "b/", "B/a", "b/c/a", "-b/a", "b..c/a", f"{'b' * 254}/a", "b/-a", "# a"]
    assert not any(map(is_qualified_name, wrong))
