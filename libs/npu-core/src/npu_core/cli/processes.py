"""Which processes hold device files: ``npuctl ps``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from npu_core.cli.documents import Json, identity, unreadable_list
from npu_core.cli.table import Column, Table, row
from npu_core.cli.words import NOTHING, count, file_list, short
from npu_core.device import Device, DeviceFile
from npu_core.errors import Reason, Unreadable
from npu_core.holders import Holder, Holders

_COLUMNS = (Column("PID", right=True), Column("NPU"), Column("Name"), Column("Device files"), Column("Command"))
_COMMAND_LIMIT = 100
PROCESSES = "processes"
"""Subject of an entry about processes of the host that could not be inspected."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One process and what it holds of one card."""

    holder: Holder
    device: Device
    files: tuple[DeviceFile, ...]


def holdings(devices: Iterable[Device], holders: Holders) -> tuple[Holding, ...]:
    """By process, then by card; a process is there once for each card it holds files of."""
    cards = tuple(devices)
    found = (
        Holding(holder, device, tuple(file for file in device.files if file.path in holder.paths))
        for holder in holders.holders
        for device in cards
    )
    return tuple(holding for holding in found if holding.files)


def table(found: Iterable[Holding]) -> Table:
    """A line per process and card."""
    return Table(
        _COLUMNS,
        (
            tuple(
                row(
                    str(holding.holder.pid),
                    holding.device.name,
                    holding.device.spec.vendor_name,
                    file_list(holding.files),
                    short(holding.holder.command, _COMMAND_LIMIT) or NOTHING,
                )
                for holding in found
            ),
        ),
    )


def document(found: Iterable[Holding], holders: Holders) -> list[Json]:
    """The same for machines, with whole command lines."""
    return [
        {
            "pid": holding.holder.pid,
            **identity(holding.device),
            "device_files": [file.path for file in holding.files],
            "command": holding.holder.command,
            "unreadable": unreadable_list(unseen(holding.device, holders)),
        }
        for holding in found
    ]


def nobody(cards: int, *, complete: bool) -> str:
    """What to say when no process was found."""
    which = "No process" if complete else "No process that can be inspected"
    return f"{which} holds a device file of the {count(cards, 'NPU')} of this host."


def unseen(device: Device, holders: Holders) -> Iterator[Unreadable]:
    """Why a holder of the card may be missing, for the card's ``unreadable`` list."""
    for reason, detail in _gaps(holders):
        yield Unreadable(device.name, PROCESSES, reason, detail)


def gap_notes(holders: Holders) -> Iterator[str]:
    """Notes for the operator about processes that could not be inspected, or only in part."""
    yield from (detail for _, detail in _gaps(holders))
    for holder in holders.holders:
        if holder.hung:
            yield f"{_called(holder)} holds device files. Its command line was not readable in time: it may hang"


def _gaps(holders: Holders) -> Iterator[tuple[Reason, str]]:
    """Why a device file without a holder may be held all the same."""
    if holders.partial:
        yield Reason.ACCESS, holders.partial
    if holders.hidden:
        which = count(holders.hidden, "process", "processes")
        yield Reason.ACCESS, f"{which} could not be inspected: this needs root with the capability SYS_PTRACE"
    for holder in holders.silent:
        yield Reason.STUCK, f"{_called(holder)} did not tell its open files in time"


def _called(holder: Holder) -> str:
    return f"process {holder.pid} {holder.command}".rstrip()
