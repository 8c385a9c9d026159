"""The kubelet's checkpoint: what it says is held, in either form, and what is none."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.errors import FormatError
from npu_device_plugin.checkpoint import CHECKPOINT, held_ids, read_checkpoint

RESOURCE = "beta.furiosa.ai/npu"


def document(*entries: object) -> bytes:
    data = {"PodDeviceEntries": list(entries), "RegisteredDevices": {RESOURCE: ["npu9pe0-1"]}}
    return json.dumps({"Data": data, "Checksum": 7}).encode()


def entry(ids: object) -> dict[str, object]:
    return {"PodUID": "u", "ContainerName": "c", "ResourceName": RESOURCE, "DeviceIDs": ids, "AllocResp": ""}


@pytest.mark.parametrize(
    ("ids", "held"),
    [
        ({"0": ["npu0pe0-1"], "-1": ["npu1pe0"]}, ["npu0pe0-1", "npu1pe0"]),
        (["npu0pe0-1", "npu1pe0"], ["npu0pe0-1", "npu1pe0"]),
        ({"0": None}, []),
        ({}, []),
        (None, []),
    ],
)
def test_ids_are_held_by_numa_node_or_in_the_list_of_older_kubelets(ids: object, held: list[str]) -> None:
    assert held_ids(document(entry(ids))) == tuple((RESOURCE, unit) for unit in held)


def test_what_is_only_registered_is_not_held() -> None:
    assert held_ids(document()) == ()


def test_a_kubelet_that_gave_nothing_out_writes_null() -> None:
    assert held_ids(b'{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}') == ()


def test_keys_of_kubelets_to_come_are_left_out() -> None:
    known = json.loads(document(entry(["npu0pe0"]) | {"New": 1}))
    known["Data"]["BootID"] = "x"
    assert held_ids(json.dumps(known).encode()) == ((RESOURCE, "npu0pe0"),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        document(entry(["npu0pe0"]))[:-20],
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        b'{"Data": []}',
        b'{"Data": {}}',
        b'{"Data": {"PodDeviceEntries": {"a": 1}}}',
        document("npu0pe0"),
        document({"ResourceName": RESOURCE}),
        document({"ResourceName": 1, "DeviceIDs": []}),
        document(entry("npu0pe0")),
        document(entry([["npu0pe0"]])),
        document(entry({"0": "npu0pe0"})),
        document(entry({"0": [1]})),
    ],
)
def test_what_is_torn_or_strange_is_an_error_and_never_nothing_held(content: bytes) -> None:
    with pytest.raises(FormatError, match="a checkpoint of the kubelet"):
        held_ids(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Data", "PodDeviceEntries", "DeviceIDs"]), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(document))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        held = held_ids(content)
    except FormatError:
        return
    assert all(isinstance(text, str) for pair in held for text in pair)


def test_without_the_file_nothing_was_ever_given_out(tmp_path: Path) -> None:
    assert read_checkpoint(str(tmp_path)) == ()
    assert read_checkpoint(f"{tmp_path}/none") == ()


def test_the_file_is_found_in_the_plugin_directory(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(document(entry(["npu0pe0"])))
    assert read_checkpoint(str(tmp_path)) == ((RESOURCE, "npu0pe0"),)


def test_what_is_no_file_or_too_large_is_an_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    path.mkdir()
    with pytest.raises(FormatError, match="Is a directory"):
        read_checkpoint(str(tmp_path))
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="JSON"):
        read_checkpoint(str(tmp_path))
    path.unlink()
    with path.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(FormatError, match="at most"):
        read_checkpoint(str(tmp_path))
