"""The stand-in for Node Feature Discovery against the table of its releases' rules."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.standins.nfd import RULES, Worker, is_qualified_name, is_value

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
ALL = ("v0.11", "v0.14", "v0.15", "v0.19")
KEY = "feature.node.kubernetes.io/a"
INVALID_NAME = "ignoring label with invalid name"
INVALID_VALUE = "ignoring label with invalid value"
BAD_DIRECTIVE = "error while parsing directives"
OVERRIDING = "overriding label value from another feature file"
UNREADABLE = "failed to read file"
NOT_ALLOWED = "Namespace is not allowed. Ignoring label"


def written(directory: Path, text: str | bytes, name: str = "file", mode: int = 0o644) -> Path:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def labels(
    directory: Path, version: str, extra_label_ns: tuple[str, ...] = (), deny_label_ns: tuple[str, ...] = ()
) -> dict[str, str]:
    worker = Worker(directory, version, extra_label_ns=extra_label_ns, deny_label_ns=deny_label_ns)
    return worker.discover(NOW).labels


def messages(directory: Path, version: str) -> list[str]:
    lines = Worker(directory, version).discover(NOW).log
    assert all("=" in line for line in lines)
    return [line[: line.index("=")].rpartition(" ")[0] for line in lines]


def test_every_release_the_table_speaks_of_has_its_rules() -> None:
    assert tuple(RULES) == ALL


# Lines


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"{KEY}=1", "1"),
        (KEY, "true"),
        (f"{KEY}=", ""),
        ("a=1", "1"),
        (f"{KEY}=1\n{KEY}=2", "2"),
    ],
    ids=["a value", "no value is true", "an empty value", "no namespace is NFD's own", "the later line wins"],
)
def test_a_line_is_a_key_and_a_value(tmp_path: Path, version: str, line: str, value: str) -> None:
    written(tmp_path, f"{line}\n")
    assert labels(tmp_path, version) == {KEY: value}


@pytest.mark.parametrize("version", ALL)
def test_the_value_begins_at_the_first_equals_sign(tmp_path: Path, version: str) -> None:
    written(tmp_path, f"{KEY}=1=2\n")
    assert labels(tmp_path, version) == {}
    assert messages(tmp_path, version) == [INVALID_VALUE]


@pytest.mark.parametrize("version", ALL)
def test_blanks_around_the_equals_sign_belong_to_key_and_value(tmp_path: Path, version: str) -> None:
    written(tmp_path, f"{KEY} =1\n{KEY}= 1\n")
    assert labels(tmp_path, version) == {}
    assert messages(tmp_path, version) == [INVALID_NAME, INVALID_VALUE]


@pytest.mark.parametrize(("version", "trims"), [("v0.11", False), ("v0.14", True), ("v0.15", True), ("v0.19", True)])
@pytest.mark.parametrize("line", [f"{KEY}=1 ", f"{KEY}=1\r", f"{KEY}=1\t", f"{KEY}=1\u2003"])
def test_a_line_is_trimmed_from_v0_14_on(tmp_path: Path, version: str, line: str, *, trims: bool) -> None:
    written(tmp_path, f"{line}\n")
    assert labels(tmp_path, version) == ({KEY: "1"} if trims else {})
    assert messages(tmp_path, version) == ([] if trims else [INVALID_VALUE])


@pytest.mark.parametrize(("version", "knows"), [("v0.11", False), ("v0.14", True), ("v0.15", True), ("v0.19", True)])
def test_a_comment_is_an_invalid_name_before_v0_14(tmp_path: Path, version: str, *, knows: bool) -> None:
    written(tmp_path, f"# by hand\n{KEY}=1\n")
    assert labels(tmp_path, version) == {KEY: "1"}
    assert messages(tmp_path, version) == ([] if knows else [INVALID_NAME])


# Directives


@pytest.mark.parametrize(("version", "expires"), [("v0.11", False), ("v0.14", True), ("v0.15", True), ("v0.19", True)])
@pytest.mark.parametrize(
    ("time", "is_over"),
    [
        ("2026-05-04T11:59:59Z", True),
        ("2026-05-04T12:00:00Z", False),
        ("2026-05-04T13:00:00+02:00", True),
        ("2026-05-04T13:00:00.5Z", False),
    ],
)
def test_labels_expire_from_v0_14_on(tmp_path: Path, version: str, time: str, *, expires: bool, is_over: bool) -> None:
    written(tmp_path, f"# +expiry-time={time}\n{KEY}=1\n")
    assert labels(tmp_path, version) == ({} if expires and is_over else {KEY: "1"})


@pytest.mark.parametrize("version", ["v0.14", "v0.15", "v0.19"])
def test_an_expiry_time_holds_for_the_lines_after_it_until_the_next_one(tmp_path: Path, version: str) -> None:
    past, future = (NOW + timedelta(hours=hours) for hours in (-1, 1))
    text = f"a=1\n# +expiry-time={past:%Y-%m-%dT%H:%M:%SZ}\nb=1\n# +expiry-time={future:%Y-%m-%dT%H:%M:%SZ}\nc=1\n"
    written(tmp_path, text)
    assert sorted(labels(tmp_path, version)) == [f"feature.node.kubernetes.io/{name}" for name in "ac"]


@pytest.mark.parametrize("version", ["v0.14", "v0.15", "v0.19"])
@pytest.mark.parametrize("time", ["tomorrow", "2026-05-04", "2026-05-04 13:00:00Z", "2026-02-31T00:00:00Z", ""])
def test_a_bad_directive_is_logged_and_the_earlier_one_stays(tmp_path: Path, version: str, time: str) -> None:
    written(tmp_path, f"# +expiry-time=2020-01-01T00:00:00Z\n# +expiry-time={time}\na=1\n")
    assert labels(tmp_path, version) == {}
    assert messages(tmp_path, version) == [BAD_DIRECTIVE]


@pytest.mark.parametrize(("version", "skips"), [("v0.14", False), ("v0.15", True), ("v0.19", True)])
def test_no_label_skips_the_next_line_from_v0_15_on(tmp_path: Path, version: str, *, skips: bool) -> None:
    written(tmp_path, "# +no-label\na=1\nb=2\n# +no-feature\nc=3\n")
    expected = "bc" if skips else "abc"
    assert sorted(labels(tmp_path, version)) == [f"feature.node.kubernetes.io/{name}" for name in expected]
    assert messages(tmp_path, version) == ([] if skips else [BAD_DIRECTIVE] * 2)


@pytest.mark.parametrize("version", ["v0.14", "v0.15", "v0.19"])
def test_an_unknown_directive_is_logged(tmp_path: Path, version: str) -> None:
    written(tmp_path, "# +colour=blue\n")
    assert messages(tmp_path, version) == [BAD_DIRECTIVE]


# Files


@pytest.mark.parametrize(("version", "reads"), [("v0.11", True), ("v0.14", True), ("v0.15", False), ("v0.19", False)])
def test_a_dot_file_is_read_before_v0_15(tmp_path: Path, version: str, *, reads: bool) -> None:
    written(tmp_path, f"{KEY}=1\n", ".file")
    assert labels(tmp_path, version) == ({KEY: "1"} if reads else {})


@pytest.mark.parametrize(("version", "limits"), [("v0.11", False), ("v0.14", True), ("v0.15", True), ("v0.19", True)])
@pytest.mark.parametrize(("size", "is_large"), [(65536, False), (65537, True)])
def test_a_large_file_is_ignored_from_v0_14_on(
    tmp_path: Path, version: str, size: int, *, limits: bool, is_large: bool
) -> None:
    written(tmp_path, f"{KEY}=1".ljust(size, "\n"))
    ignored = limits and is_large
    assert labels(tmp_path, version) == ({} if ignored else {KEY: "1"})
    assert messages(tmp_path, version) == ([UNREADABLE] if ignored else [])


@pytest.mark.parametrize("version", ALL)
def test_sub_directories_are_skipped_without_a_word_and_links_to_files_are_read(tmp_path: Path, version: str) -> None:
    directory, elsewhere = tmp_path / "features.d", tmp_path / "elsewhere"
    (directory / "sub").mkdir(parents=True)
    (directory / ".sub").mkdir()
    elsewhere.mkdir()
    written(directory / "sub", "b=1\n")
    written(directory / ".sub", "c=1\n")
    (directory / "link").symlink_to(written(elsewhere, f"{KEY}=1\n"))
    assert labels(directory, version) == {KEY: "1"}
    assert messages(directory, version) == []


@pytest.mark.parametrize("version", ALL)
def test_a_link_to_nothing_is_logged_and_costs_nothing_else(tmp_path: Path, version: str) -> None:
    (tmp_path / "a-link").symlink_to(tmp_path / "nowhere")
    written(tmp_path, f"{KEY}=1\n")
    assert labels(tmp_path, version) == {KEY: "1"}
    assert messages(tmp_path, version) == [UNREADABLE]


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o000])
def test_a_file_that_others_may_not_read_has_no_labels(tmp_path: Path, version: str, mode: int) -> None:
    written(tmp_path, f"{KEY}=1\n", mode=mode)
    assert labels(tmp_path, version) == {}
    assert messages(tmp_path, version) == [UNREADABLE]


@pytest.mark.parametrize("version", ALL)
def test_a_later_file_wins_and_the_log_says_so(tmp_path: Path, version: str) -> None:
    written(tmp_path, f"{KEY}=1\n", "10")
    written(tmp_path, f"{KEY}=2\n", "9")
    assert labels(tmp_path, version) == {KEY: "2"}
    assert messages(tmp_path, version) == [OVERRIDING]


@pytest.mark.parametrize("version", ALL)
def test_no_file_means_no_labels(tmp_path: Path, version: str) -> None:
    assert labels(tmp_path, version) == {}
    assert messages(tmp_path / "gone", version) == ["features directory does not exist"]


@pytest.mark.parametrize("version", ALL)
def test_bytes_that_are_no_text_cost_only_their_own_line(tmp_path: Path, version: str) -> None:
    written(tmp_path, b"a=\xff\xfe\n" + f"{KEY}=1\n".encode())
    assert labels(tmp_path, version) == {KEY: "1"}


# Namespaces, names and values


@pytest.mark.parametrize(
    ("key", "extra", "taken_by"),
    [
        ("feature.node.kubernetes.io/x", (), ALL),
        ("profile.node.kubernetes.io/x", (), ALL),
        ("sub.feature.node.kubernetes.io/x", (), ALL),
        ("beta.furiosa.ai/x", (), ALL[1:]),
        ("beta.furiosa.ai/x", ("beta.furiosa.ai",), ALL),
        ("beta.furiosa.ai/x", ("furiosa.ai",), ALL[1:]),
        ("kubernetes.io/x", (), ()),
        ("node.kubernetes.io/x", (), ()),
        ("node.kubernetes.io/x", ("node.kubernetes.io",), ALL),
    ],
)
def test_namespaces_are_taken_by_release(
    tmp_path: Path, key: str, extra: tuple[str, ...], taken_by: tuple[str, ...]
) -> None:
    written(tmp_path, f"{key}=1\n")
    assert tuple(version for version in ALL if labels(tmp_path, version, extra_label_ns=extra)) == taken_by


def test_a_namespace_that_is_not_allowed_is_logged(tmp_path: Path) -> None:
    written(tmp_path, "beta.furiosa.ai/x=1\n")
    assert messages(tmp_path, "v0.11") == [NOT_ALLOWED]


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
    found = labels(tmp_path, "v0.19", deny_label_ns=denied, extra_label_ns=extra)
    assert bool(found) is is_taken


def test_a_white_list_looks_at_the_name_alone(tmp_path: Path) -> None:
    written(tmp_path, "beta.furiosa.ai/npu.count=1\nbeta.furiosa.ai/machine.name=x\n")
    found = Worker(tmp_path, "v0.19", white_list="^npu").discover(NOW).labels
    assert found == {"beta.furiosa.ai/npu.count": "1"}


@pytest.mark.parametrize("value", ["", "a", "A-b_c.9", "0", "a" * 63, "a--b"])
def test_a_value_that_kubernetes_takes(value: str) -> None:
    assert is_value(value)


@pytest.mark.parametrize("value", ["-", "a-", ".a", "a b", "a/b", "é", "a" * 64, "a\n"])
def test_a_value_that_kubernetes_refuses(value: str) -> None:
    assert not is_value(value)


@pytest.mark.parametrize("key", ["a", "b/a", "b.c-d/A_1", f"{'b' * 253}/a", f"b/{'a' * 63}"])
def test_a_name_that_kubernetes_takes(key: str) -> None:
    assert is_qualified_name(key)


@pytest.mark.parametrize("key", ["", "/a", "b/", "B/a", "b/c/a", "-b/a", "b..c/a", f"{'b' * 254}/a", "b/-a", "# a"])
def test_a_name_that_kubernetes_refuses(key: str) -> None:
    assert not is_qualified_name(key)
