"""The kubelet's checkpoint: what the file names, in either form, and what is no checkpoint."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.checkpoint import CHECKPOINT, Checkpoint, checkpoint_stamp, claims_in, read_checkpoint
from npu_core.claims import Claim
from npu_core.errors import FormatError

RESOURCE = "beta.furiosa.ai/npu"


def document(*entries: object) -> bytes:
    data = {"PodDeviceEntries": list(entries), "RegisteredDevices": {RESOURCE: ["npu9pe0-1"]}}
    return json.dumps({"Data": data, "Checksum": 7}).encode()


def entry(ids: object, **changes: object) -> dict[str, object]:
    names = {"PodUID": "uid-1", "ContainerName": "main", "ResourceName": RESOURCE}
    return {**names, "DeviceIDs": ids, "AllocResp": "", **changes}


def claim(device_id: str, numa_node: int | None = None, *, pod: str = "uid-1", container: str = "main") -> Claim:
    return Claim(RESOURCE, device_id, numa_node, pod_uid=pod, container_name=container)


# -- the content ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        ({"0": ["npu0pe0-1"], "-1": ["npu1pe0"]}, (claim("npu0pe0-1", 0), claim("npu1pe0"))),
        ({"1": ["npu0pe0", "npu0pe1"]}, (claim("npu0pe0", 1), claim("npu0pe1", 1))),
        (["npu0pe0-1", "npu1pe0"], (claim("npu0pe0-1"), claim("npu1pe0"))),
        ({"0": None}, ()),
        ({}, ()),
        ([], ()),
        (None, ()),
    ],
)
def test_ids_are_named_by_numa_node_or_in_the_list_of_older_kubelets(ids: object, named: tuple[Claim, ...]) -> None:
    assert claims_in(document(entry(ids))) == named


@pytest.mark.parametrize("node", ["-1", "", "zero", "+1", "1.5", "٣", "9" * 5000])
def test_a_node_that_is_no_number_is_no_node(node: str) -> None:
    assert claims_in(document(entry({node: ["npu0pe0"]}))) == (claim("npu0pe0"),)


ANSWERS = {
    Arch.WARBOY: (b"\n\x0c/dev/npu0pe0\x12\x0c/dev/npu0pe0", b"furiosa.ai/warboy=npu0pe0"),
    Arch.RENEGADE: (b"\n\x11/dev/rngd/npu0pe0", b"furiosa.ai/renegade=npu0pe0"),
    None: (b"", b"/dev/nvidia0", b"/dev/npu0pe0 /dev/rngd/npu0pe0"),
}


@pytest.mark.parametrize(("arch", "answer"), [(arch, answer) for arch, all_ in ANSWERS.items() for answer in all_])
def test_the_answer_that_the_kubelet_keeps_tells_the_family(arch: Arch | None, answer: bytes) -> None:
    (found,) = claims_in(document(entry(["npu0pe0"], AllocResp=base64.b64encode(answer).decode())))
    assert found.arch is arch


@pytest.mark.parametrize("answer", [None, 3, "not base64", "ü", ["CAE="]])
def test_an_answer_that_cannot_be_read_tells_no_family(answer: object) -> None:
    assert claims_in(document(entry(["npu0pe0"], AllocResp=answer))) == (claim("npu0pe0"),)


def test_every_claim_names_the_pod_and_the_container_as_far_as_the_file_does() -> None:
    content = document(
        entry(["npu0pe0"], PodUID="uid-2", ContainerName="fetch"),
        entry(["npu0pe1"], PodUID=None, ContainerName=3),
    )
    assert claims_in(content) == (
        claim("npu0pe0", pod="uid-2", container="fetch"),
        claim("npu0pe1", pod="", container=""),
    )


def test_a_kubelet_that_gave_nothing_out_writes_null() -> None:
    assert claims_in(b'{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}') == ()


def test_keys_of_kubelets_to_come_are_left_out() -> None:
    known = json.loads(document(entry(["npu0pe0"]) | {"New": 1}))
    known["Data"]["BootID"] = "x"
    assert claims_in(json.dumps(known).encode()) == (claim("npu0pe0"),)


STRANGE = [
    b"",
    document(entry(["npu0pe0"]))[:-20],
    b"\xff\xfe",
    b"\0" * 100,
    b"[" * 100_000,
    b"9" * 5000,
    b"null",
    b"[]",
    b"{}",
    b'{"Data": null}',
    b'{"Data": []}',
    b'{"Data": {}}',
    b'{"Data": {"PodDeviceEntries": {"a": 1}}}',
    b'{"Data": {"PodDeviceEntries": {}}}',
    b'{"Data": {"PodDeviceEntries": ""}}',
    b'{"Data": {"PodDeviceEntries": 0}}',
    b'{"Data": {"PodDeviceEntries": false}}',
    document("npu0pe0"),
    document(None),
    document({"ResourceName": RESOURCE}),
    document({"ResourceName": 1, "DeviceIDs": []}),
    document({"DeviceIDs": []}),
    document(entry("npu0pe0")),
    document(entry("")),
    document(entry(0)),
    document(entry(ids=False)),
    document(entry([["npu0pe0"]])),
    document(entry([None])),
    document(entry({"0": "npu0pe0"})),
    document(entry({"0": [1]})),
    document(entry({"0": 0})),
    document(entry(["\ud800"])),
    document(entry([], ResourceName="\udfff")),
]


@pytest.mark.parametrize("content", STRANGE, ids=range(len(STRANGE)))
def test_what_is_torn_or_strange_is_an_error_and_never_nothing_held(content: bytes) -> None:
    with pytest.raises(FormatError, match="a checkpoint of the kubelet"):
        claims_in(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["Data", "PodDeviceEntries", "DeviceIDs", "ResourceName", "0"]), inner)
    ),
)


@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(document)
    | JSON.map(lambda ids: document(entry(ids)))
)
@example(document(entry({"9" * 5000: ["npu0pe0"]})))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        named = claims_in(content)
    except FormatError:
        return
    for each in named:
        for text in (each.resource, each.device_id, each.pod_uid, each.container_name):
            text.encode()
        assert each.numa_node is None or each.numa_node >= 0


# -- the file ---------------------------------------------------------------------------------------------------------


def write(directory: Path, content: bytes) -> None:
    """Write the file as the kubelet does: another file that takes the name."""
    scratch = directory / ".writing"
    scratch.write_bytes(content)
    scratch.replace(directory / CHECKPOINT)


def test_without_the_file_nothing_was_ever_given_out(tmp_path: Path) -> None:
    assert read_checkpoint(str(tmp_path)) == Checkpoint((), None)
    assert read_checkpoint(f"{tmp_path}/none") == Checkpoint((), None)
    assert checkpoint_stamp(str(tmp_path)) is None


def test_the_file_is_found_in_the_plugin_directory_with_the_stamp_of_what_was_read(tmp_path: Path) -> None:
    write(tmp_path, document(entry(["npu0pe0"])))
    found = read_checkpoint(str(tmp_path))
    assert found.claims == (claim("npu0pe0"),)
    assert found.stamp == checkpoint_stamp(str(tmp_path)) is not None
    assert read_checkpoint(str(tmp_path)) == found


def test_every_writing_has_a_stamp_of_its_own_even_if_the_content_is_the_same(tmp_path: Path) -> None:
    content = document(entry(["npu0pe0"]))
    write(tmp_path, content)
    first = checkpoint_stamp(str(tmp_path))
    write(tmp_path, content)
    second = checkpoint_stamp(str(tmp_path))
    write(tmp_path, document())
    assert len({first, second, checkpoint_stamp(str(tmp_path))}) == 3


def test_a_file_that_is_written_over_in_place_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(document())
    before = checkpoint_stamp(str(tmp_path))
    path.write_bytes(document(entry(["npu0pe0"])))
    assert checkpoint_stamp(str(tmp_path)) != before


def test_another_mode_is_no_writing(tmp_path: Path) -> None:
    write(tmp_path, document())
    before = checkpoint_stamp(str(tmp_path))
    (tmp_path / CHECKPOINT).chmod(0o600)
    assert checkpoint_stamp(str(tmp_path)) == before


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.write_bytes(b" " * (17 << 20)),
        lambda path: path.write_bytes(document(entry(["npu0pe0"]))[:-20]),
        Path.touch,
        lambda path: path.symlink_to(path.name),
    ],
    ids=["directory", "pipe", "huge", "torn", "empty", "circle"],
)
def test_what_is_no_checkpoint_is_an_error_at_once_that_names_the_file(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / CHECKPOINT)
    with pytest.raises(FormatError) as caught:
        read_checkpoint(str(tmp_path))
    assert f"{tmp_path}/{CHECKPOINT}" in str(caught.value)
