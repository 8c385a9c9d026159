"""Who uses which PEs: ``npuctl list``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from npu_core.cli import processes
from npu_core.cli.documents import Json, identity, unreadable_list
from npu_core.cli.host_scan import CardScan, HostScan, HostScanner, attempt
from npu_core.cli.table import Cell, Column, Row, Style, Table, row
from npu_core.cli.words import NOTHING, file_list, short
from npu_core.device import Device, DeviceFile
from npu_core.errors import HostError, Reason, Unreadable
from npu_core.holders import Holder, Holders

Occupancy = tuple[bool, ...] | HostError
"""What the driver says of every PE of a card, or why it does not."""

_COLUMNS = (Column("NPU"), Column("Name"), Column("PE"), Column("State"), Column("Used by"), Column("Device files"))
_WHOLE_CARD = "card"
_UNSEEN = "(says the driver)"
_COMMAND_LIMIT = 40
_NOT_A_FAILURE = {Reason.MISSING, Reason.STUCK}


class Use(StrEnum):
    """Whether a PE is in use."""

    IN_USE = "in use"
    FREE = "free"
    UNKNOWN = "unknown"
    """No holder was found, but npuctl could not inspect every process, and the driver does not say who uses the PE."""


_STYLES = {Use.IN_USE: Style.DOUBTFUL, Use.FREE: Style.GOOD, Use.UNKNOWN: Style.BAD}


@dataclass(frozen=True, slots=True)
class PeUse:
    """The use of one PE.

    Attributes:
        pe: its number.
        use: the answer.
        holders: the processes that were seen to hold it; may be empty where only the driver knows.
        occupied: what the driver says; None if it does not.
        files: the device files that open it.
    """

    pe: int
    use: Use
    holders: tuple[Holder, ...]
    occupied: bool | None
    files: tuple[DeviceFile, ...]


def look(surveyor: HostScanner) -> HostScan[Occupancy]:
    """The cards and what their drivers say of their PEs."""
    host = surveyor.host
    return surveyor.look(lambda device: attempt(lambda: host.occupancy(device)), lambda error: error)


def unreadable(sighting: CardScan[Occupancy]) -> Iterator[Unreadable]:
    """What could not be read of a card."""
    yield from sighting.device.unreadable
    if isinstance(sighting.seen, HostError) and sighting.seen.reason not in _NOT_A_FAILURE:
        yield Unreadable.of(sighting.device.name, "pe_occupancy", sighting.seen)


def pe_uses(sighting: CardScan[Occupancy], holders: Holders) -> tuple[PeUse, ...]:
    """The use of each PE of a card.

    A process that holds a fused file uses all its PEs, and one that holds the file of the whole card uses them all.
    Management and channel files make no PE used. Where a driver speaks of its PEs, its word stands beside the files.
    """
    occupancy = () if isinstance(sighting.seen, HostError) else sighting.seen
    return tuple(
        _pe_use(sighting.device, pe, holders, occupancy[pe] if pe < len(occupancy) else None)
        for pe in sighting.device.cores
    )


def _pe_use(device: Device, pe: int, holders: Holders, occupied: bool | None) -> PeUse:
    files = tuple(file for file in device.files if file.cores is not None and pe in file.cores)
    paths = {file.path for file in files}
    users = tuple(holder for holder in holders.holders if paths.intersection(holder.paths))
    return PeUse(pe, _answer(users, occupied, complete=holders.complete), users, occupied, files)


def _answer(users: tuple[Holder, ...], occupied: bool | None, *, complete: bool) -> Use:
    if users or occupied:
        return Use.IN_USE
    return Use.FREE if complete or occupied is not None else Use.UNKNOWN


def table(cards: Iterable[CardScan[Occupancy]], holders: Holders) -> Table:
    """A line per PE with the files that open it, and a line per card with the files that its PEs share."""
    return Table(_COLUMNS, tuple(tuple(_rows(card, holders)) for card in cards))


def _rows(sighting: CardScan[Occupancy], holders: Holders) -> Iterator[Row]:
    device = sighting.device
    names = (Cell(device.name), Cell(device.spec.vendor_name))
    for pe in pe_uses(sighting, holders):
        state = Cell(pe.use.value, _STYLES[pe.use])
        yield (*names, Cell(str(pe.pe)), state, *row(_users(pe), file_list(pe.files) or NOTHING))
    shared = file_list(file for file in device.files if file.cores is None)
    yield (*names, *row(_WHOLE_CARD, "", "", shared or NOTHING))


def _users(pe: PeUse) -> str:
    if pe.use is Use.IN_USE and not pe.holders:
        return _UNSEEN
    return "\n".join(f"{holder.pid} {short(holder.command, _COMMAND_LIMIT)}" for holder in pe.holders) or NOTHING


def document(cards: Iterable[CardScan[Occupancy]], holders: Holders) -> list[Json]:
    """The same for machines."""
    return [
        identity(card.device)
        | {
            "pes": [_pe_document(pe) for pe in pe_uses(card, holders)],
            "device_files": [file.path for file in card.device.files],
            "unreadable": unreadable_list((*unreadable(card), *processes.unseen(card.device, holders))),
        }
        for card in cards
    ]


def _pe_document(pe: PeUse) -> Json:
    return {
        "pe": pe.pe,
        "state": pe.use.value,
        "occupied": pe.occupied,
        "holders": [{"pid": holder.pid, "command": holder.command} for holder in pe.holders],
        "device_files": [file.path for file in pe.files],
    }
