"""The view of ``npuctl top``: a line per PE."""

from collections.abc import Iterable, Iterator

from npu_core.cli.documents import Json, identity, unreadable_list
from npu_core.cli.headline import headline_power, headline_temperature
from npu_core.cli.host_scan import CardScan
from npu_core.cli.load import CardLoad, PeLoad, unreadable
from npu_core.cli.table import Column, Row, Table, row
from npu_core.cli.words import power, share, temperature

_COLUMNS = (
    Column("NPU"),
    Column("Name"),
    Column("PE"),
    Column("Busy", right=True),
    Column("Computing", right=True),
    Column("Temp.", right=True),
    Column("Power", right=True),
)


def table(cards: Iterable[CardScan[CardLoad]]) -> Table:
    """Temperature and power are the card's, and stand on its first line only."""
    return Table(_COLUMNS, tuple(tuple(_rows(card)) for card in cards))


def _rows(sighting: CardScan[CardLoad]) -> Iterator[Row]:
    device, readings = sighting.device, sighting.seen.sight.readings
    card = (
        temperature(headline_temperature(device.spec, readings)),
        power(headline_power(device.spec, readings)),
    )
    for number, load in enumerate(sighting.seen.loads):
        figures = (str(load.cores), share(load.busy), share(load.computing))
        yield row(device.name, device.spec.vendor_name, *figures, *(card if number == 0 else ("", "")))


def document(cards: Iterable[CardScan[CardLoad]]) -> list[Json]:
    """The same for machines."""
    return [
        identity(card.device)
        | {
            "temperature_millicelsius": headline_temperature(card.device.spec, card.seen.sight.readings),
            "power_microwatts": headline_power(card.device.spec, card.seen.sight.readings),
            "loads": [_load_document(load) for load in card.seen.loads],
            "unreadable": unreadable_list(unreadable(card)),
        }
        for card in cards
    ]


def _load_document(load: PeLoad) -> Json:
    return {
        "cores": str(load.cores),
        "status": load.status.value,
        "busy_ratio": load.busy,
        "computing_ratio": load.computing,
    }
