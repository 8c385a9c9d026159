"""``npuctl info``: one line per card."""

from collections.abc import Iterable, Iterator

from npu_core.cli.documents import Json, identity, unreadable_list
from npu_core.cli.headline import headline_power, headline_temperature
from npu_core.cli.host_scan import CardScan, HostScan, HostScanner
from npu_core.cli.table import Column, Table, row
from npu_core.cli.words import NOTHING, power, temperature
from npu_core.device import Device
from npu_core.errors import Unreadable
from npu_core.sensors import Readings

_COLUMNS = (
    Column("NPU"),
    Column("Name"),
    Column("Temp.", right=True),
    Column("Power", right=True),
    Column("PCI-BDF"),
    Column("PCI-DEV"),
)


def look(surveyor: HostScanner) -> HostScan[Readings]:
    """The cards and what their sensors read."""
    return surveyor.look(surveyor.host.readings, lambda _error: Readings())


def unreadable(sighting: CardScan[Readings]) -> Iterator[Unreadable]:
    """What could not be read of a card."""
    yield from sighting.device.unreadable
    yield from sighting.seen.unreadable


def table(cards: Iterable[CardScan[Readings]]) -> Table:
    """The table of the vendor's ``furiosactl info``."""
    return Table(_COLUMNS, (tuple(row(*_fields(card.device, card.seen)) for card in cards),))


def document(cards: Iterable[CardScan[Readings]]) -> list[Json]:
    """The same for machines: values in the units their sensors give."""
    return [summary(card.device, card.seen) | {"unreadable": unreadable_list(unreadable(card))} for card in cards]


def summary(device: Device, readings: Readings) -> dict[str, Json]:
    """The keys of one card, without those that could not be read."""
    return identity(device) | {
        "temperature_millicelsius": headline_temperature(device.spec, readings),
        "power_microwatts": headline_power(device.spec, readings),
        "pci_address": None if device.pci is None else str(device.pci),
        "pci_dev": device.dev,
    }


def _fields(device: Device, readings: Readings) -> tuple[str, ...]:
    return (
        device.name,
        device.spec.vendor_name,
        temperature(headline_temperature(device.spec, readings)),
        power(headline_power(device.spec, readings)),
        NOTHING if device.pci is None else str(device.pci),
        device.dev or NOTHING,
    )
