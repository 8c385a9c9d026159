"""What a simulated card is to be: declared as a value, checked before anything is written."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.device import ComponentVersion, PciAddress
from npu_core.errors import FormatError, UsageError
from npu_core.parse.mgmt import FIRST_CALENDAR_VERSION
from npu_core.partition import MAX_INDEX, UnitId
from npu_core.sensors import Quantity

_BUS_STRIDE = 17  # coprime with 256: every index gets a bus of its own
_FIRST_BUS = {Arch.WARBOY: 0x17, Arch.RENEGADE: 0x65}
_PCI_DOMAIN = {Arch.WARBOY: 0, Arch.RENEGADE: 1}
_DEV_MAJOR = {Arch.WARBOY: 509, Arch.RENEGADE: 235}


class ImpossibleHostError(UsageError):
    """A simulated host that no machine could be."""


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """One simulated sensor.

    Attributes:
        quantity: what it measures.
        channel: its number.
        label: what the driver calls it; None for a sensor without a label file.
        value: what it reads, in the quantity's unit.
    """

    quantity: Quantity
    channel: int
    label: str | None
    value: int


@dataclass(frozen=True, slots=True)
class CardPlan:
    """One simulated card. Make it with :func:`warboy` or :func:`rngd`, change it with :func:`dataclasses.replace`.

    Attributes:
        arch: the family.
        index: number of the card.
        pci: address on the PCI bus.
        device_type: what the card calls itself.
        soc_rev: revision of the silicon; None for a driver without that attribute.
        uuid: may be empty, as on some cards.
        serial: may be empty, as on some cards.
        driver: text of the ``version`` attribute.
        firmware: text of the ``fw_version`` attribute; may be empty.
        numa_node: -1 stands for "the machine does not say", None for no such file.
        sensors: of one hwmon chip. An empty tuple makes a card without hwmon.
        extra_sensors: of a second chip; it is there if this is not empty.
        absent_files: suffixes of device files that this card lacks, such as ``ch0``.
        line_ends: False leaves out the newline at the end of every attribute.
        physical_function: PCI address of the card that this one is a virtual function of; empty for a card of its own.
        entry_of: number of the card, of the same family, that this is a second entry of; see :func:`second_entry`.
    """

    arch: Arch
    index: int
    pci: str
    device_type: str
    soc_rev: str | None
    uuid: str
    serial: str
    driver: str
    firmware: str
    numa_node: int | None = 0
    sensors: tuple[SensorPlan, ...] = ()
    extra_sensors: tuple[SensorPlan, ...] = ()
    absent_files: frozenset[str] = frozenset()
    line_ends: bool = True
    physical_function: str = ""
    entry_of: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_INDEX:
            raise ImpossibleHostError(f"card index {self.index}: expected 0-{MAX_INDEX}")
        self._check_pci()
        if not self.device_type.lower().startswith(self.spec.device_types):
            raise ImpossibleHostError(f"npu{self.index}: a {self.arch} card cannot be a {self.device_type!r}")
        if self.numa_node is not None and self.numa_node < -1:
            raise ImpossibleHostError(f"npu{self.index}: NUMA node {self.numa_node}: expected -1 or more")
        self._check_files()
        self._check_sensors()

    def _check_pci(self) -> None:
        own = self._address(self.pci)
        if self.physical_function:
            physical = self._address(self.physical_function)
            if physical == own or physical.domain != own.domain:
                raise ImpossibleHostError(f"npu{self.index}: {own} cannot be a virtual function of {physical}")
        if self.entry_of is not None and (self.entry_of == self.index or self.sensors or self.extra_sensors):
            raise ImpossibleHostError(f"npu{self.index}: a second entry has another card's PCI function and sensors")

    def _address(self, text: str) -> PciAddress:
        try:
            address = PciAddress.parse(text)
        except FormatError as error:
            raise ImpossibleHostError(f"npu{self.index}: {error}") from error
        if text != str(address):
            raise ImpossibleHostError(f"npu{self.index}: the kernel writes {text!r} as '{address}'")
        return address

    def _check_files(self) -> None:
        unknown = self.absent_files - set(all_suffixes(self.spec))
        if unknown:
            raise ImpossibleHostError(f"npu{self.index}: {self.arch} cards have no files {', '.join(sorted(unknown))}")

    def _check_sensors(self) -> None:
        for sensors in (self.sensors, self.extra_sensors):
            channels = Counter((sensor.quantity, sensor.channel) for sensor in sensors)
            for (quantity, channel), count in channels.items():
                if count > 1:
                    raise ImpossibleHostError(f"npu{self.index}: {quantity} channel {channel} comes {count} times")

    @property
    def spec(self) -> ArchSpec:
        """The family's row of the architecture table."""
        return arch_spec(self.arch)

    @property
    def name(self) -> str:
        """``npu0``."""
        return f"npu{self.index}"

    @property
    def dev(self) -> str:
        """Device number of the management node."""
        number = self.index if self.entry_of is None else self.entry_of
        return f"{_DEV_MAJOR[self.arch] + number}:0"

    @property
    def alive_state(self) -> str:
        """What ``device_state`` says when the card is alive, by the driver's generation."""
        major = ComponentVersion.parse(self.driver).major
        return "1" if major is None or major < FIRST_CALENDAR_VERSION else "0"

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the card's device files."""
        return tuple(self.name + suffix for suffix in all_suffixes(self.spec) if suffix not in self.absent_files)


def all_suffixes(spec: ArchSpec) -> tuple[str, ...]:
    """Every device file a card of the family can have, as what follows its name."""
    cores = (str(UnitId(0, part)).removeprefix("npu0") for part in spec.core_files)
    if spec.arch is Arch.WARBOY:
        return ("", *spec.granted_suffixes, "_bar0", "_bar2", "_bar4", *cores)
    return (*spec.granted_suffixes, *cores)


_WARBOY_SENSORS: tuple[tuple[Quantity, int, tuple[tuple[str, int], ...]], ...] = (
    (
        Quantity.CURRENT,
        1,
        (("NE 12V Curr", 310), ("NE Current", 1180), ("PCI 12V Curr", 690), ("PCI 3.3V Curr", 420)),
    ),
    (Quantity.VOLTAGE, 0, (("NE Core 48V Volt", 47_900), ("NE Core Volt", 812))),
    (
        Quantity.POWER,
        1,
        (
            ("NE 12V PWR", 3_720_000),
            ("NE Core RMS PWR", 958_000),
            ("NE PWR", 1_370_000),
            ("PCI 12V PWR", 8_280_000),
            ("PCI 3.3V PWR", 1_386_000),
            ("PCI Total RMS PWR", 9_666_000),
        ),
    ),
    (
        Quantity.TEMPERATURE,
        1,
        (
            ("AMBIENT", 31_000),
            ("Average", 40_000),
            ("LPDDR4", 38_000),
            ("NE", 40_500),
            ("NE_PE0", 40_250),
            ("NE_PE1", 40_750),
            ("NE_TOP", 40_000),
            ("PCIE", 41_000),
            ("Peak", 42_000),
            ("U74M", 39_500),
        ),
    ),
)


def _warboy_sensors() -> Iterable[SensorPlan]:
    for quantity, first, labels in _WARBOY_SENSORS:
        for channel, (label, value) in enumerate(labels, first):
            yield SensorPlan(quantity, channel, label, value)


def _rngd_sensors() -> Iterable[SensorPlan]:
    yield SensorPlan(Quantity.POWER, 1, "RMS_TOTAL", 38_500_000)
    labels = ("PEAK", *(f"NPU_PE{core}" for core in range(8)), "AMBIENT")
    for channel, label in enumerate(labels, 1):
        yield SensorPlan(Quantity.TEMPERATURE, channel, label, 33_000 if label == "AMBIENT" else 41_000 + 250 * channel)


def _pci(arch: Arch, index: int) -> str:
    bus = (_FIRST_BUS[arch] + _BUS_STRIDE * index) % 256
    return str(PciAddress(_PCI_DOMAIN[arch], bus, 0, 0))


def _uuid(arch: Arch, index: int) -> str:
    return f"{_DEV_MAJOR[arch]:08X}-0000-40B1-9E86-{index:012X}"


def warboy(index: int, **changes: object) -> CardPlan:
    """A Warboy B0 card with the sensors of a real one; ``changes`` are fields of :class:`CardPlan`.

    Raises:
        ImpossibleHostError: if no such card could exist.
    """
    return _changed(
        CardPlan(
            Arch.WARBOY,
            index,
            pci=_pci(Arch.WARBOY, index % 256),
            device_type="Warboy",
            soc_rev="B0",
            uuid=_uuid(Arch.WARBOY, index),
            serial=f"WBYB0236FH{index:06d}",
            driver="1.9.2, 3def9c2",
            firmware="1.6.0, c1bebfd",
            sensors=tuple(_warboy_sensors()),
        ),
        changes,
    )


def rngd(index: int, **changes: object) -> CardPlan:
    """An RNGD card of a driver numbered by year; ``changes`` are fields of :class:`CardPlan`.

    Raises:
        ImpossibleHostError: if no such card could exist.
    """
    return _changed(
        CardPlan(
            Arch.RENEGADE,
            index,
            pci=_pci(Arch.RENEGADE, index % 256),
            device_type="RNGD",
            soc_rev=None,
            uuid=_uuid(Arch.RENEGADE, index),
            serial=f"RNGD0125A{index:06d}",
            driver="2026.1.2, e28c5c0",
            firmware="2026.1.0, 5f3ab90",
            sensors=tuple(_rngd_sensors()),
        ),
        changes,
    )


def _changed(plan: CardPlan, changes: dict[str, object]) -> CardPlan:
    unknown = changes.keys() - set(CardPlan.__slots__)
    if unknown:
        raise UsageError(f"a card has no field {', '.join(sorted(unknown))}")
    return replace(plan, **changes)  # type: ignore[arg-type]  # checked above by name; the values are the caller's


def second_entry(card: CardPlan, index: int) -> CardPlan:
    """A second entry of a card, as a faulty driver makes one: another number, the same PCI function and device number.

    A host may have such an entry only if the entry is declared so: two cards with one PCI address are refused. The PCI
    function and the sensors are those of the card itself.

    Raises:
        ImpossibleHostError: if no such entry could exist.
    """
    return replace(card, index=index, entry_of=card.index, sensors=(), extra_sensors=())


def check_together(plans: Iterable[CardPlan]) -> None:
    """Refuse cards that cannot share a machine.

    Raises:
        ImpossibleHostError: if two cards of a family have one index, two cards one PCI address, or a second entry is of
            no card there.
    """
    cards = list(plans)
    _refuse_twice(Counter(f"{card.arch} {card.name}" for card in cards))
    own = [card for card in cards if card.entry_of is None]
    _refuse_twice(Counter(f"PCI address {card.pci}" for card in own))
    functions = {(card.arch, card.index, card.pci) for card in own}
    for card in cards:
        if card.entry_of is not None and (card.arch, card.entry_of, card.pci) not in functions:
            raise ImpossibleHostError(
                f"{card.arch} {card.name} is a second entry of npu{card.entry_of}, not a card there"
            )


def _refuse_twice(counts: Counter[str]) -> None:
    for what, count in counts.items():
        if count > 1:
            raise ImpossibleHostError(f"{what} is taken by {count} cards")
