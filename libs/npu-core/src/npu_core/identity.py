"""Is it the same card? One rule for every service. Pure: values in, values out.

A card number is not an identity: it can change when the driver is loaded again or the bus is scanned again. The UUID
and the serial number are an identity where the card gives them; the PCI address decides where it does not. Virtual
functions carry the identity of their card, so that the address decides between them as well.
"""

from collections.abc import Iterable
from dataclasses import replace

from npu_core.arch import Arch
from npu_core.device import CardKey, Device, file_order
from npu_core.errors import Reason
from npu_core.parse.mgmt import EVERY_ATTRIBUTE

_PLACEHOLDERS = (frozenset("0- "), frozenset("f- "))
"""What an identity consists of that was never written: zeros, or the ones of erased memory."""
_OF_PLACE = frozenset({"numa_node", "physical_function"})
"""Fields that belong to the card's PCI address rather than to the card."""
_TOLD_BY = {
    "product": ("device_type", "soc_rev"),
    "uuid": ("device_uuid",),
    "serial": ("device_sn",),
    "pci": ("busname",),
    "numa_node": ("numa_node", "busname"),
    "dev": ("dev",),
    "firmware": ("fw_version",),
    "driver": ("version",),
    "soc_rev": ("soc_rev",),
    "physical_function": ("physfn", "busname"),
}
"""The attributes that each field of a card is read from."""


def is_another_card(known: Device, seen: Device) -> bool:
    """Whether a card number belongs to another card now than when it was last read.

    A UUID or serial number that differs says yes; one that is equal says no, whatever the PCI address is. The PCI
    address decides only where neither could be compared, and between virtual functions. What could not be read, then or
    now, says nothing.
    """
    has_moved = known.pci is not None and seen.pci is not None and known.pci != seen.pci
    if has_moved and (known.physical_function or seen.physical_function):
        return True
    pairs = ((_identity(known.uuid), _identity(seen.uuid)), (_identity(known.serial), _identity(seen.serial)))
    comparable = [(before, now) for before, now in pairs if before and now]
    if comparable:
        return any(before != now for before, now in comparable)
    return has_moved


def is_same_card(one: Device, other: Device) -> bool:
    """Whether two entries are known to be one card: some identity is equal, and none differs. Numbers do not count."""
    if one.arch is not other.arch or is_another_card(one, other):
        return False
    return any(
        first is not None and first == second
        for first, second in (
            (_identity(one.uuid), _identity(other.uuid)),
            (_identity(one.serial), _identity(other.serial)),
            (one.pci, other.pci),
        )
    )


def _identity(text: str | None) -> str | None:
    """An identity in a form that can be compared; None for one that a driver writes for "not set"."""
    folded = (text or "").casefold()
    return None if any(placeholder.issuperset(folded) for placeholder in _PLACEHOLDERS) else folded


def carried_over(known: Device, seen: Device) -> Device:
    """The card as it was just read, with what could not be read this time as it was known.

    Only fields that a failed read explains are carried over: a driver that no longer offers an attribute is believed,
    and so is every value that was read. Device files are carried over as well while the driver is the same and the card
    has the same number: a file that vanished is a missing file, and the card is not whole until the file is back.

    Args:
        known: the card as it was last known.
        seen: the same card, read again; for another card see :func:`is_another_card`.
    """
    is_same_driver = seen.driver is None or known.driver is None or known.driver == seen.driver
    remembered = (file for file in known.files if is_same_driver and file.card == seen.name)
    kept = {name: getattr(known, name) for name in unread_fields(seen) if getattr(seen, name) is None}
    if seen.pci is not None and seen.pci != known.pci:
        kept = {name: value for name, value in kept.items() if name not in _OF_PLACE}
    return replace(seen, files=tuple(sorted({*seen.files, *remembered}, key=file_order)), **kept)


def unread_fields(device: Device) -> frozenset[str]:
    """The fields of which the card's silence means nothing, because reading them failed."""
    failed = {item.subject for item in device.unreadable}
    nothing_read = any(item.reason is Reason.STUCK or item.subject == EVERY_ATTRIBUTE for item in device.unreadable)
    return frozenset(name for name, told_by in _TOLD_BY.items() if nothing_read or not failed.isdisjoint(told_by))


def is_same_function(one: Device, other: Device) -> bool:
    """Whether two entries are one PCI function: equal addresses, or device numbers where an address is unknown."""
    if one.pci is not None and other.pci is not None:
        return one.pci == other.pci
    return one.dev is not None and one.dev == other.dev


def is_same_hardware(one: Device, other: Device) -> bool:
    """Whether two entries lead to the same hardware, so that giving out both would give it out twice.

    True for one PCI function, and for a physical function and a virtual function of it. Two virtual functions of one
    physical function are two.
    """
    if is_same_function(one, other):
        return True
    return any(
        function.pci is not None and function.pci == virtual.physical_function
        for function, virtual in ((one, other), (other, one))
    )


def counting_order(device: Device) -> tuple[bool, int, int]:
    """Sort key for :func:`doubles`: physical functions before virtual ones, then by family and number."""
    return device.physical_function is not None, list(Arch).index(device.arch), device.index


def doubles(devices: Iterable[Device]) -> dict[CardKey, Device]:
    """The entries that must not be offered, because an earlier one of ``devices`` leads to the same hardware.

    Args:
        devices: the entries, the preferred ones first.

    Returns:
        By the key of the entry that is left out, the entry that is kept instead.
    """
    kept: list[Device] = []
    left_out: dict[CardKey, Device] = {}
    for device in devices:
        twin = next((each for each in kept if is_same_hardware(each, device)), None)
        if twin is None:
            kept.append(device)
        else:
            left_out[device.key] = twin
    return left_out
