"""Attributes of a card's management directory.

Source: formats of the vendor's drivers as docs/host-contract.md lists them. Attributes that can only be written
(``reset``, ``device_led``, ...) are known by name and never read.
"""

import re
from collections.abc import Mapping

from npu_core.arch import ArchSpec, spec_of_type
from npu_core.counters import ErrorCounter
from npu_core.device import ComponentVersion, PciAddress
from npu_core.errors import FormatError, HostError, ImpossibleError, Reason, UnsupportedDeviceError
from npu_core.limits import possible_count
from npu_core.parse.text import parse_count, parse_flag

IDENTITY_ATTRIBUTES = (
    "platform_type",
    "device_type",
    "soc_rev",
    "device_uuid",
    "device_sn",
    "busname",
    "dev",
    "version",
    "fw_version",
)
"""What is read to tell what a card is. Everything in it may be missing or empty on some driver."""

EVERY_ATTRIBUTE = "management attributes"
"""What is said to be unreadable where no attribute of a card could be read at all."""

PLATFORM = "FuriosaAI"
"""``platform_type`` of the vendor's own boards. Development boards of other makers say something else."""

FIRST_CALENDAR_VERSION = 2024
"""From this major version on, drivers are numbered by year, and ``device_state`` ``0`` means alive."""

_SILENT_REVISION = "A0"
_HEXADECIMAL = re.compile(r"(?:0x)?[0-9a-f]{1,16}", re.ASCII | re.IGNORECASE)
_ALL_BITS = {(1 << bits) - 1 for bits in (32, 64)}

Attributes = Mapping[str, str | HostError]
"""Name of an attribute to its text, or to why it could not be read."""


def parse_dev(text: str) -> str:
    """Device number of the management node, ``509:0``; kept as text because drivers pad it.

    Raises:
        FormatError: unless it is two decimal numbers.
    """
    major, _, minor = text.strip().partition(":")
    if not (major.isascii() and major.isdecimal() and minor.isascii() and minor.isdecimal()):
        raise FormatError(text, "a device number such as 509:0")
    return f"{major}:{minor}"


def parse_alive(text: str) -> bool:
    """``1`` is alive, ``0`` is dead.

    Raises:
        FormatError: on anything else.
    """
    return parse_flag(text)


def parse_device_state(text: str, driver: ComponentVersion | None) -> bool:
    """Whether a card of a driver with ``device_state`` is alive.

    The meaning of the number was turned round between driver generations: drivers numbered by year say ``0`` when
    alive, older ones ``1``.

    Raises:
        FormatError: if it is no number, or the driver's generation is not known.
    """
    state = parse_count(text, "a device state, 0 or more")
    if driver is None or driver.major is None:
        raise FormatError(text, "a device_state of a driver whose version is known")
    return state == (0 if driver.major >= FIRST_CALENDAR_VERSION else 1)


def parse_heartbeat(text: str) -> int:
    """Seconds since the NPU started.

    Raises:
        FormatError: unless it is a number, 0 or more.
    """
    return parse_count(text, "seconds, 0 or more")


def parse_atr_error(text: str) -> tuple[ErrorCounter, ...]:
    """The error counters: lines ``AXI Post Error: 0``. Unknown kinds are kept, in the order of the text.

    Raises:
        FormatError: if a line is not a name, a colon and a count, a kind comes twice, or there is no line at all.
        ImpossibleError: if a count is one of :data:`~npu_core.limits.NO_VALUES`.
    """
    counters = tuple(_error_counter(line) for line in text.splitlines() if line.strip())
    if not counters or len({counter.kind for counter in counters}) < len(counters):
        raise FormatError(text, "lines such as 'AXI Post Error: 0', each kind once")
    return counters


def _error_counter(line: str) -> ErrorCounter:
    name, separator, count = line.partition(":")
    kind = "_".join(name.lower().split())
    if not (separator and kind):
        raise FormatError(line, "an error counter such as 'AXI Post Error: 0'")
    what = f"a count of {kind}"
    return ErrorCounter(kind, possible_count(parse_count(count, what), what))


def parse_occupancy(text: str) -> tuple[bool, ...]:
    """Which PEs are occupied, by core: a ``0`` or ``1`` per line (newer RNGD drivers).

    Raises:
        FormatError: on anything else.
    """
    return tuple(parse_alive(line) for line in text.split())


def parse_throttle_reason(text: str) -> int:
    """Why clocks are throttled, as the driver's bit mask; 0 means not at all. Hexadecimal, ``0x`` or not.

    Raises:
        FormatError: on anything else.
        ImpossibleError: if all of 32 or 64 bits are set.
    """
    match = _HEXADECIMAL.fullmatch(text.strip())
    if match is None:
        raise FormatError(text, "a bit mask such as 0x10")
    mask = int(match[0], 16)
    if mask in _ALL_BITS:
        raise ImpossibleError(text, "a bit mask such as 0x10; all bits set mean that the card did not answer")
    return mask


def product_code(device_type: str, soc_rev: str) -> str:
    """The product's name in labels: ``Warboy`` ``B0`` -> ``warboyB0``, ``RNGD`` -> ``rngd``.

    The revision is left out if it is empty, ``A0``, or already part of the type.
    """
    family, _, _ = device_type.partition("-")
    base = device_type.lower() if family.isupper() else device_type[:1].lower() + device_type[1:]
    if soc_rev == _SILENT_REVISION or base.upper().endswith(soc_rev.upper()):
        return base
    return base + soc_rev


def check_kind(spec: ArchSpec, attributes: Attributes) -> str | None:
    """Why this is not a card of ``spec``'s family, in words; None if it is one or nothing says otherwise."""
    platform, device_type = text_of(attributes, "platform_type"), text_of(attributes, "device_type")
    if platform is not None and platform != PLATFORM:
        return f"platform_type is {platform!r}, expected {PLATFORM!r}"
    if device_type is not None and spec_of_type(device_type) is not spec:
        return str(UnsupportedDeviceError(device_type, spec.device_types))
    return None


def text_of(attributes: Attributes, name: str) -> str | None:
    """The trimmed text of an attribute; None if it is empty, missing or unreadable."""
    value = attributes.get(name)
    return value.strip() or None if isinstance(value, str) else None


def product_of(attributes: Attributes) -> str | None:
    """The product code, or None if the type could not be read. An unreadable revision leaves it unknown too."""
    device_type = text_of(attributes, "device_type")
    if device_type is None or _is_unreadable(attributes.get("soc_rev")):
        return None
    return product_code(device_type, text_of(attributes, "soc_rev") or "")


def version_of(attributes: Attributes, name: str) -> ComponentVersion | None:
    """A version, or None if it is empty, missing or unreadable."""
    text = text_of(attributes, name)
    return None if text is None else ComponentVersion.parse(text)


def parse_busname(text: str) -> PciAddress:
    """The card's address on the PCI bus.

    Raises:
        FormatError: on anything else.
    """
    return PciAddress.parse(text.strip())


def parse_numa_node(text: str) -> int | None:
    """NUMA node; None for ``-1``, the kernel's way of saying that it does not know.

    Raises:
        FormatError: unless it is a number, -1 or more.
    """
    if text.strip() == "-1":
        return None
    return parse_count(text, "a NUMA node, -1 or more")


def _is_unreadable(value: str | HostError | None) -> bool:
    return isinstance(value, HostError) and value.reason is not Reason.MISSING
