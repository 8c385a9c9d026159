"""What a release of Node Feature Discovery would drop of ours, as the stand-in drops it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from npu_core.errors import FormatError
from npu_feature_discovery.labels.feature_text import render
from npu_feature_discovery.labels.nfd_rules import OLDEST, NfdVersion, dropped
from npu_feature_discovery.labels.table import Extra, labels_of
from testkit.standins.nfd import RULES, Worker
from tests.feature_discovery.facts import node, rngd, warboy

LABELS = labels_of(node(warboy(), rngd()), extras=Extra)
LATER = datetime.now(UTC) + timedelta(days=1)
OURS = {"beta.furiosa.ai"}
VERSIONS = {name: NfdVersion.parse(name) for name in RULES}
V11, V12, V13, V14, V19 = (NfdVersion(0, minor) for minor in (11, 12, 13, 14, 19))


# Versions


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v0.11", NfdVersion(0, 11, 0)),
        ("0.14.2", NfdVersion(0, 14, 2)),
        ("v0.16.6-minimal", NfdVersion(0, 16, 6)),
        ("v0.20.0-devel-12-gabc", NfdVersion(0, 20, 0)),
        ("1.0", NfdVersion(1, 0)),
        ("v0.14-", NfdVersion(0, 14)),
        ("v9999.9999.9999+build.7", NfdVersion(9999, 9999, 9999)),
    ],
)
def test_versions_are_read_as_images_are_tagged(text: str, version: NfdVersion) -> None:
    assert NfdVersion.parse(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v",
        "11",
        "v0",
        "0.14.",
        "v0.14.2.1",
        "latest",
        "0,14",
        " v0.11",
        "v0.٣",
        "vv0.1",
        "v10000.1",
        "v.1",
        "v0.",
        "v0.10000",
        "v0.1.10000",
        "v0.1_x",
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        NfdVersion.parse(text)


def test_versions_order_by_number_and_not_by_letters() -> None:
    texts = ["v0.9", "v0.11", "v0.11.3", "v0.14", "v0.100", "v1.0"]
    assert sorted(map(NfdVersion.parse, reversed(texts))) == [NfdVersion.parse(text) for text in texts]
    assert [str(NfdVersion.parse(text)) for text in texts] == texts
    assert NfdVersion.parse("v0.11") == OLDEST


# What is dropped


@pytest.mark.parametrize("version", [V11, V12])
def test_before_v0_13_all_our_labels_need_their_namespace_allowed(version: NfdVersion) -> None:
    found = dropped(LABELS, version)
    assert [item.key for item in found] == list(LABELS)
    assert all("--extra-label-ns=beta.furiosa.ai" in item.reason for item in found)
    assert dropped(LABELS, version, extra_label_ns=OURS) == ()
    assert len(dropped(LABELS, version, extra_label_ns={"furiosa.ai", "nvidia.com"})) == len(LABELS)


@pytest.mark.parametrize("version", [V13, V14, V19, NfdVersion(1, 0)])
def test_from_v0_13_on_nothing_of_ours_is_dropped(version: NfdVersion) -> None:
    assert dropped(LABELS, version) == ()


@pytest.mark.parametrize("version", [V11, V13, NfdVersion(0, 13, 9)])
def test_an_expiry_time_is_not_understood_before_v0_14(version: NfdVersion) -> None:
    (found,) = dropped(LABELS, version, extra_label_ns=OURS, expires=LATER)
    assert found.key == "# +expiry-time"
    assert dropped(LABELS, V14, expires=LATER) == ()


def test_a_name_is_told_before_a_value_and_both_before_a_namespace_and_keys_in_their_order() -> None:
    found = dropped({"kubernetes.io/c": "", "kubernetes.io/b": "-", "kubernetes.io/-a": "-"}, V19)
    assert [(item.key, item.reason.split()[1]) for item in found] == [
        ("kubernetes.io/-a", "name"),
        ("kubernetes.io/b", "value"),
        ("kubernetes.io/c", "namespace"),
    ]


@pytest.mark.parametrize("excess", [0, 1])
def test_a_file_too_large_is_dropped_whole_from_v0_14_on(excess: int) -> None:
    labels = {f"beta.furiosa.ai/{index:05}": "x" * 40 for index in range(1040)}
    room = 65536 - len(render(labels)) - len("z=\n") + excess
    labels["z"] = "x" * room
    assert dropped(labels, V13) == ()
    assert [item.key for item in dropped(dict(reversed(labels.items())), V14)] == (list(labels) if excess else [])


NAMES = ("a", "npu.count", "-a", "a-", "", "a b", "x" * 63, "x" * 64, "A_b.c")
NAMESPACES = (
    "bare",
    "/",
    "beta.furiosa.ai/",
    "Beta/",
    "a/b/",
    "kubernetes.io/",
    "x.kubernetes.io/",
    "notkubernetes.io/",
    "feature.node.kubernetes.io/",
    "notfeature.node.kubernetes.io/",
    "x.profile.node.kubernetes.io/",
    f"{'d' * 253}/",
    f"{'d' * 254}/",
)
KEYS = [namespace + name for namespace in NAMESPACES for name in NAMES]
VALUES = ("", "1", "a b", "a.", "-a", "x" * 63, "x" * 64, "é")


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("extra", [(), ("beta.furiosa.ai",), ("kubernetes.io", "x.kubernetes.io")])
@pytest.mark.parametrize(
    "labels",
    [dict.fromkeys(KEYS, "1"), {f"beta.furiosa.ai/a{index}": value for index, value in enumerate(VALUES)}],
    ids=["keys", "values"],
)
def test_what_is_said_to_be_dropped_is_what_the_release_drops(
    tmp_path: Path, name: str, extra: tuple[str, ...], labels: dict[str, str]
) -> None:
    (tmp_path / "file").write_bytes(render(labels))
    arrived = Worker(tmp_path, name, extra_label_ns=extra).discover().labels
    lost = {item.key for item in dropped(labels, VERSIONS[name], extra_label_ns=extra)}
    own = "feature.node.kubernetes.io/"
    assert {key if "/" in key else own + key for key in labels.keys() - lost} == arrived.keys()
