"""The device manager's checkpoint: its JSON, and the file."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from testkit.standins.kubelet.errors import CheckpointError
from testkit.standins.kubelet.holdings import Held, Holding

CHECKPOINT_NAME = "kubelet_internal_checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What survives the kubelet's process."""

    holdings: tuple[Holding, ...] = ()
    registered: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Per resource the healthy ids, and only those."""


def to_json(checkpoint: Checkpoint) -> str:
    """The file's text."""
    data = {
        "PodDeviceEntries": [_entry_to_json(holding) for holding in checkpoint.holdings],
        "RegisteredDevices": {name: sorted(ids) for name, ids in sorted(checkpoint.registered.items())},
    }
    return json.dumps({"Data": data, "Checksum": _checksum(data)}, separators=(",", ":"))


def from_json(text: str) -> Checkpoint:
    """The checkpoint in a file's text.

    Raises:
        CheckpointError: It is damaged.
    """
    try:
        document = json.loads(text)
        data = document["Data"]
        checkpoint = Checkpoint(
            tuple(_entry_from_json(entry) for entry in data["PodDeviceEntries"]),
            {name: tuple(ids) for name, ids in data["RegisteredDevices"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise CheckpointError(f"cannot be read: {error!r}") from error
    if document.get("Checksum") != _checksum(data):
        raise CheckpointError("checkpoint is corrupted")
    return checkpoint


def _checksum(data: Mapping[str, Any]) -> int:
    """Any function of the data serves: only the kubelet that wrote it ever checks it."""
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())


def _entry_to_json(holding: Holding) -> dict[str, object]:
    return {
        "PodUID": holding.pod_uid,
        "ContainerName": holding.container,
        "ResourceName": holding.resource,
        "DeviceIDs": {str(node): list(ids) for node, ids in holding.held.by_numa.items()},
        "AllocResp": base64.b64encode(holding.held.response).decode(),
    }


def _entry_from_json(entry: Mapping[str, Any]) -> Holding:
    by_numa = {int(node): tuple(ids) for node, ids in entry["DeviceIDs"].items()}
    response = base64.b64decode(entry["AllocResp"], validate=True)
    return Holding(entry["PodUID"], entry["ContainerName"], entry["ResourceName"], Held(by_numa, response))


class CheckpointFile:
    """The file, replaced as a whole, and how often that happened."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / CHECKPOINT_NAME
        self.writes = 0

    def read(self) -> Checkpoint:
        """What the last write left; an absent file is an empty checkpoint.

        Raises:
            CheckpointError: It is damaged.
        """
        try:
            return from_json(self.path.read_text())
        except FileNotFoundError:
            return Checkpoint()
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot be read: {error}") from error

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file: readers see the old text or the new one."""
        temporary = self.path.with_name(f".{CHECKPOINT_NAME}")
        temporary.write_text(to_json(checkpoint))
        temporary.rename(self.path)
        self.writes += 1

    def remove(self) -> None:
        """As an administrator would."""
        self.path.unlink(missing_ok=True)
