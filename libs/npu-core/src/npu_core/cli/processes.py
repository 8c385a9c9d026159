"""Which processes hold device files: ``npuctl ps``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from npu_core.cli.documents import Json, identity
from npu_core.cli.table import Column, Table, row
from npu_core.cli.words import NOTHING, count, file_list, short
from npu_core.device import Device, DeviceFile
from npu_core.holders import Holder, Holders

_COLUMNS = (Column("PID", right=True), Column("NPU"), Column("Name"), Column("Device files"), Column("Command"))
_COMMAND_LIMIT = 100


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


def document(found: Iterable[Holding]) -> list[Json]:
    """The same for machines, with whole command lines."""
    return [
        {
            "pid": holding.holder.pid,
            **identity(holding.device),
            "device_files": [file.path for file in holding.files],
            "command": holding.holder.command,
        }
        for holding in found
    ]


def nobody(cards: int, hidden: int) -> str:
    """What to say when no process was found."""
    which = "No process that can be inspected" if hidden else "No process"
    return f"{which} holds a device file of the {count(cards, 'NPU')} of this host."


def hidden_note(holders: Holders) -> Iterator[str]:
    """What the operator should know of the processes that were not seen."""
    if holders.hidden:
        yield f"{count(holders.hidden, 'process', 'processes')} could not be inspected; run as root to see all of them"
