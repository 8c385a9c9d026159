"""The kubelet's checkpoint: its own record of which container was given which device.

The file is private to the kubelet and not documented; two forms of it are known. The kubelet writes it after it gave a
device out and at every list message of a device plugin. It removes pods that ended from the record late: the file may
name more than is held, never less.

Source: the device manager of Kubernetes 1.19 to 1.37.
"""

import base64
import json
import os
import re
from dataclasses import dataclass
from typing import TypeGuard

from npu_core.arch import ARCH_SPECS, Arch
from npu_core.claims import DOMAIN, Claim
from npu_core.errors import FormatError
from npu_core.os_errors import meaning

CHECKPOINT = "kubelet_internal_checkpoint"
"""The file's name, in the kubelet's device-plugin directory."""

FileStamp = tuple[int, int, int]
"""Inode, time of the last writing in nanoseconds and size: differs whenever the kubelet has written the file again, and
stays the same when only the mode, the owner or the security context was changed."""

_MAX_SIZE = 16 * 1024 * 1024
_EXPECTED = "a checkpoint of the kubelet"
_NO_NUMA_NODE = "-1"
_MARKS = {
    arch: (f"/dev/{spec.device_dir}/npu".replace("//", "/").encode(), f"{DOMAIN}/{arch}=".encode())
    for arch, spec in ARCH_SPECS.items()
}
_NODE = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file as it was read.

    Attributes:
        claims: every device that it names, of any resource; none if there is no file.
        stamp: of the file that was read; None if there was none.
        healthy: names of the resources with at least one healthy device: the kubelet listened to their device plugins
            when it wrote the file. None if the file does not tell.
    """

    claims: tuple[Claim, ...] = ()
    stamp: FileStamp | None = None
    healthy: frozenset[str] | None = None


def checkpoint_stamp(plugin_dir: str) -> FileStamp | None:
    """What tells this writing of the file from every other; None if there is no file, or it cannot be looked at."""
    try:
        return _stamp(os.stat(f"{plugin_dir}/{CHECKPOINT}"))  # noqa: PTH116  # pathlib is not otherwise loaded in daemons
    except OSError:
        return None


def read_checkpoint(plugin_dir: str) -> Checkpoint:
    """The file in the kubelet's device-plugin directory.

    Raises:
        FormatError: if it cannot be read, is torn, or is of a form that is not known.
    """
    path = f"{plugin_dir}/{CHECKPOINT}"
    try:
        # Not blocking: a pipe under that name must not keep the cards from being offered.
        with open(path, "rb", opener=_not_blocking) as file:
            stamp = _stamp(os.fstat(file.fileno()))
            # A pipe that nobody writes to gives None.
            content = file.read(_MAX_SIZE + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return Checkpoint()
    except OSError as error:
        raise FormatError(path, f"{_EXPECTED}: {meaning(error, path)}") from error
    if len(content) > _MAX_SIZE:
        raise FormatError(path, f"{_EXPECTED} of at most {_MAX_SIZE} bytes")
    try:
        data = _data(content)
        return Checkpoint(_all_claims(data), stamp, _healthy(data))
    except FormatError as error:
        raise error.at(path) from error


def _stamp(status: os.stat_result) -> FileStamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _not_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def claims_in(content: bytes) -> tuple[Claim, ...]:
    """What the file's content names.

    The checksum is over the kubelet's own structures in memory: nobody else can check it.

    Raises:
        FormatError: if it is torn, or of a form that is not known.
    """
    return _all_claims(_data(content))


def _data(content: bytes) -> dict[str, object]:
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError("the content", f"{_EXPECTED}: JSON") from error
    data = document.get("Data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or "PodDeviceEntries" not in data:
        raise FormatError("the content", f"{_EXPECTED}: Data with PodDeviceEntries")
    return data


def _all_claims(data: dict[str, object]) -> tuple[Claim, ...]:
    # What is empty in Go may be null in JSON.
    entries = [] if data["PodDeviceEntries"] is None else data["PodDeviceEntries"]
    if not isinstance(entries, list):
        raise FormatError("PodDeviceEntries", f"{_EXPECTED}: a list")
    return tuple(claim for entry in entries for claim in _claims(entry))


def _healthy(data: dict[str, object]) -> frozenset[str] | None:
    registered = data.get("RegisteredDevices")
    if not isinstance(registered, dict):
        return None
    return frozenset(resource for resource, ids in registered.items() if ids)


def _claims(entry: object) -> tuple[Claim, ...]:
    resource = entry.get("ResourceName") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not _is_text(resource) or "DeviceIDs" not in entry:
        raise FormatError("PodDeviceEntries", f"{_EXPECTED}: entries with ResourceName and DeviceIDs")
    uid, container = (entry.get(name) for name in ("PodUID", "ContainerName"))
    arch = _family(entry.get("AllocResp"))
    return tuple(
        Claim(
            resource,
            device_id,
            node,
            pod_uid=uid if _is_text(uid) else "",
            container_name=container if _is_text(container) else "",
            arch=arch,
        )
        for device_id, node in _devices(entry["DeviceIDs"])
    )


def _family(response: object) -> Arch | None:
    """The family of the cards in a device plugin's answer, which the kubelet keeps; None if that is not clear.

    The answer is not decoded: the paths of device files, and the names of CDI devices, stand in it as they are.
    """
    if not isinstance(response, str):
        return None
    try:
        content = base64.b64decode(response, validate=True)
    except ValueError:
        return None
    found = [arch for arch, marks in _MARKS.items() if any(mark in content for mark in marks)]
    return found[0] if len(found) == 1 else None


def _devices(given: object) -> list[tuple[str, int | None]]:
    """Ids with their NUMA node: by node, as kubelets write them since 1.20, or the list that older ones wrote."""
    by_node = given.items() if isinstance(given, dict) else [(_NO_NUMA_NODE, given)]
    return [(device_id, _node(node)) for node, ids in by_node for device_id in _list_of_ids(ids)]


def _node(text: str) -> int | None:
    return int(text) if _NODE.fullmatch(text) else None


def _list_of_ids(given: object) -> list[str]:
    ids = [] if given is None else given
    if not isinstance(ids, list) or not all(_is_text(each) for each in ids):
        raise FormatError("DeviceIDs", f"{_EXPECTED}: ids, or ids by NUMA node")
    return ids


def _is_text(given: object) -> TypeGuard[str]:
    """Whether it is text that can be sent and logged: JSON can also spell halves of characters."""
    return isinstance(given, str) and not any("\ud800" <= letter <= "\udfff" for letter in given)
