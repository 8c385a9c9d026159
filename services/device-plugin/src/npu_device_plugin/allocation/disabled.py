"""Devices that the operator keeps from Kubernetes."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from npu_core.claims import KnownCard
from npu_core.cores import CoreRange
from npu_core.device import Device, PciAddress
from npu_core.errors import FormatError
from npu_core.parse.mgmt import EVERY_ATTRIBUTE
from npu_core.partition import MAX_INDEX, Unit, UnitId

_CARD = re.compile(r"npu(0|[1-9][0-9]{0,2})", re.ASCII)
_UUID = re.compile(r"[0-9A-Za-z]{8}(-[0-9A-Za-z]{4}){3}-[0-9A-Za-z]{12}", re.ASCII)
IDENTITY = "identity"
"""What is said to be unreadable of a card that did not answer when it was to be identified."""

WHOLE_CARD = (EVERY_ATTRIBUTE, IDENTITY)
"""What :attr:`npu_core.device.Device.unreadable` names when nothing of a card could be read."""
EXPECTED = "a card (npu1), a unit (npu0pe0), a UUID or a PCI address (0000:6d:00.0)"

_NODE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LONGEST_NODE = 253
EXPECTED_NODE = f"the name of a node: at most {_LONGEST_NODE} of a-z, 0-9, - and ., with a letter or digit at both ends"


@dataclass(frozen=True, slots=True)
class DisabledDevice:
    """One entry of ``disabledDevices``.

    Attributes:
        name: a card, a unit, a UUID or a PCI address.
        node: the node it is meant for; None for every node.
    """

    name: str
    node: str | None = None

    def __str__(self) -> str:
        return self.name if self.node is None else f"{self.name} on {self.node}"

    def concerns(self, node: str | None) -> bool:
        """Whether the entry is meant for this node."""
        return self.node is None or (node is not None and self.node.lower() == node.lower())

    def covers(self, unit: Unit, former: frozenset[int] = frozenset()) -> bool:
        """Whether the unit may not be offered: its card is meant, or cores that it shares with the unit meant.

        Args:
            unit: the unit.
            former: other numbers that its card had since the process started.
        """
        return self._means(unit.device, unit.cores, former)

    def means(self, device: Device, former: frozenset[int] = frozenset()) -> bool:
        """Whether the card is meant, or some of its cores."""
        return self._means(device, device.spec.cores, former)

    def covers_card(self, device: Device, former: frozenset[int] = frozenset()) -> bool:
        """Whether the card is meant as a whole."""
        return covers_card(self.name, device) or any(self.name == f"npu{index}" for index in former)

    def _means(self, device: Device, cores: CoreRange, former: frozenset[int]) -> bool:
        if self.covers_card(device, former):
            return True
        meant = _unit_id(self.name)
        return meant is not None and meant.index in {device.index, *former} and meant.cores.overlaps(cores)

    def may_mean(self, device: Device) -> bool:
        """Whether it cannot be told if this card is meant, because what it is called by could not be read."""
        unread = {item.subject for item in device.unreadable}
        if _UUID.fullmatch(self.name):
            return device.uuid is None and bool(unread & {"device_uuid", *WHOLE_CARD})
        return _pci(self.name) is not None and device.pci is None and bool(unread & {"busname", *WHOLE_CARD})


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


def unknown_devices(
    disabled: Iterable[DisabledDevice], node_name: str | None, known: Collection[KnownCard]
) -> tuple[UnknownDevice, ...]:
    """The entries for this node that mean none of its cards: most are slips of the pen.

    None while the node has no card, as before a driver is loaded.
    """
    if not known:
        return ()
    cards = ", ".join(dict.fromkeys(card.device.name for card in known))
    expected = f"one of {cards}, or a unit, a UUID or a PCI address of one"
    return tuple(
        UnknownDevice(f"disabledDevices[{place}]", entry.name, expected)
        for place, entry in enumerate(disabled)
        if entry.concerns(node_name)
        and not any(entry.means(card.device, card.former) or entry.may_mean(card.device) for card in known)
    )


def covers_card(name: str, device: Device) -> bool:
    """Whether ``name`` means this card as a whole."""
    if name == device.name:
        return True
    if device.uuid is not None and name.casefold() == device.uuid.casefold():
        return True
    return device.pci is not None and _pci(name) == device.pci


def is_device_name(name: str) -> bool:
    """Whether ``name`` has one of the four forms, whether or not there is such a device."""
    return _is_card(name) or bool(_UUID.fullmatch(name)) or _unit_id(name) is not None or _pci(name) is not None


def is_node_name(name: str) -> bool:
    """Whether the name is valid for a node: a DNS subdomain (RFC 1123) in lower case."""
    return len(name) <= _LONGEST_NODE and _NODE.fullmatch(name) is not None


def _is_card(name: str) -> bool:
    match = _CARD.fullmatch(name)
    return match is not None and int(match[1]) <= MAX_INDEX


def _unit_id(name: str) -> UnitId | None:
    try:
        return UnitId.parse(name)
    except FormatError:
        return None


def _pci(name: str) -> PciAddress | None:
    try:
        return PciAddress.parse(name)
    except FormatError:
        return None
