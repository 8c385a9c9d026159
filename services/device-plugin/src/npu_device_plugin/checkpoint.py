"""The kubelet's own record of what containers hold: a file in the plugin directory, private to it.

Read only where the kubelet cannot be asked, and only for what was held before we started. The kubelet writes it
whenever it has given a unit out, and takes entries away late: it may name more than is held, never less.

Source: the kubelet's device manager. Its file is not documented; two forms of it are known.
"""

import json
import os

from npu_core.errors import FormatError

CHECKPOINT = "kubelet_internal_checkpoint"
"""The file's name."""

HeldIds = tuple[tuple[str, str], ...]
"""Resource and unit id of everything held."""

_MAX_SIZE = 16 * 1024 * 1024
_EXPECTED = "a checkpoint of the kubelet"


def read_checkpoint(plugin_dir: str) -> HeldIds:
    """What the file says is held, of any resource; nothing if there is no file: nothing was ever given out there.

    Raises:
        FormatError: if it cannot be read, is torn, or is of a form that is not known.
    """
    path = f"{plugin_dir}/{CHECKPOINT}"
    try:
        # Not blocking: whatever else is there under that name must not keep the cards from being offered.
        with open(path, "rb", opener=_not_blocking) as file:  # pathlib is not loaded in the daemon
            content = file.read(_MAX_SIZE + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise FormatError(path, f"{_EXPECTED} ({error.strerror})") from error
    if len(content) > _MAX_SIZE:
        raise FormatError(path, f"{_EXPECTED} of at most {_MAX_SIZE} bytes")
    return held_ids(content)


def _not_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def held_ids(content: bytes) -> HeldIds:
    """What the file's content says is held.

    The checksum is over the kubelet's own structures in memory: nobody else can check it.

    Raises:
        FormatError: if it is torn, or of a form that is not known.
    """
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError("the content", f"{_EXPECTED}: JSON") from error
    data = document.get("Data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or "PodDeviceEntries" not in data:
        raise FormatError("the content", f"{_EXPECTED}: Data with PodDeviceEntries")
    entries = data["PodDeviceEntries"] or []
    if not isinstance(entries, list):
        raise FormatError("PodDeviceEntries", f"{_EXPECTED}: a list")
    return tuple(pair for entry in entries for pair in _pairs(entry))


def _pairs(entry: object) -> HeldIds:
    resource = entry.get("ResourceName") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(resource, str) or "DeviceIDs" not in entry:
        raise FormatError("PodDeviceEntries", f"{_EXPECTED}: entries with ResourceName and DeviceIDs")
    return tuple((resource, unit) for unit in _ids(entry["DeviceIDs"] or []))


def _ids(given: object) -> list[str]:
    """By NUMA node, as kubelets write them since 1.20, or the list that older ones wrote."""
    lists = list(given.values()) if isinstance(given, dict) else [given]
    return [unit for each in lists for unit in _list_of_ids(each)]


def _list_of_ids(given: object) -> list[str]:
    # What is empty in Go may be null in JSON.
    ids = [] if given is None else given
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise FormatError("DeviceIDs", f"{_EXPECTED}: ids, or ids by NUMA node")
    return ids
