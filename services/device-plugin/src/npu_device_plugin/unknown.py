"""Entries of ``disabledDevices`` that mean nothing on this host: most are slips of the pen. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from npu_core.claims import KnownCard
from npu_device_plugin.settings import Settings


@dataclass(frozen=True, slots=True)
class UnknownDevice:
    """An entry that no card and no unit of this host is meant by.

    Attributes:
        entry: where it stands: ``disabledDevices[0]``.
        name: what it says.
        expected: what would mean something here.
    """

    entry: str
    name: str
    expected: str

    def __str__(self) -> str:
        return f"unknown device: {self.entry} is {self.name!r}: expected {self.expected}"


def unknown_devices(settings: Settings, known: Collection[KnownCard]) -> tuple[UnknownDevice, ...]:
    """The entries for this node that mean none of its cards; none while it has none, as before a driver is loaded."""
    if not known:
        return ()
    cards = ", ".join(dict.fromkeys(card.device.name for card in known))
    expected = f"one of {cards}, or a unit, a UUID or a PCI address of one"
    return tuple(
        UnknownDevice(f"disabledDevices[{place}]", entry.name, expected)
        for place, entry in enumerate(settings.disabled_devices)
        if entry.concerns(settings.node_name)
        and not any(entry.means(card.device, card.former) or entry.may_mean(card.device) for card in known)
    )
