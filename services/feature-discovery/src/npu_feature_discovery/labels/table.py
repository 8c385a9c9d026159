"""The labels of a node: what they are called, what they say and where it comes from.

Source: the ten labels without a group are those of the vendor's specification, under its own prefix.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from npu_core.arch import Arch, arch_spec
from npu_core.device import ComponentVersion, Device
from npu_core.machine import Machine
from npu_feature_discovery.labels.label_value import MAX_LENGTH, UNKNOWN, sanitise

Labels = Mapping[str, str]
"""Full key to value, all of them valid, in key order."""

PREFIX = "beta.furiosa.ai/"
"""What every key begins with. No label of anybody else does."""

JOINER = "_"
"""Stands between the values of a mixed node: ``warboy_warboyB0``."""

_PRODUCT = "<product>"


class Mixed(StrEnum):
    """What a label says whose cards do not agree."""

    JOIN = "join"
    """Every value once, in order: ``warboy_warboyB0``. Left out if that is no value or could be read in two ways."""

    OMIT = "omit"
    """Nothing: the label is left out."""


class Extra(StrEnum):
    """Labels that the specification does not have, by group; each has to be asked for."""

    FIRMWARE = "firmware"
    PRODUCT_COUNT = "product-count"
    PE_COUNT = "pe-count"


class LabelSource(StrEnum):
    """The files that say what a label says; see :attr:`LabelSpec.source`."""

    CARD = "{card}"
    PRODUCT = "{card}/device_type, {card}/soc_rev"
    DRIVER = "{card}/version"
    FIRMWARE = "{card}/fw_version"
    MACHINE_VENDOR = "{sysfs}/class/dmi/id/{vendor_from}"
    MACHINE_NAME = "{sysfs}/class/dmi/id/{name_from}"


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """A row of :data:`TABLE`.

    Attributes:
        name: the key after :data:`PREFIX`.
        source: the file that the label comes from; ``{sysfs}`` is the root, ``{card}`` a card's management directory,
            ``{vendor_from}`` and ``{name_from}`` as in :class:`~npu_core.machine.Machine`.
        meaning: a phrase for people.
        group: which extra it belongs to; None for those of the specification, which are always on.
    """

    name: str
    source: LabelSource
    meaning: str
    group: Extra | None = None

    @property
    def key(self) -> str:
        """The full key."""
        return PREFIX + self.name


TABLE: tuple[LabelSpec, ...] = (
    LabelSpec("npu.count", LabelSource.CARD, "cards installed in the node, dead ones too"),
    LabelSpec("npu.product", LabelSource.PRODUCT, "product code of the cards"),
    LabelSpec("npu.family", LabelSource.CARD, "architecture of the cards"),
    LabelSpec("machine.vendor", LabelSource.MACHINE_VENDOR, "maker of the machine"),
    LabelSpec("machine.name", LabelSource.MACHINE_NAME, "product name of the machine"),
    LabelSpec("driver.version", LabelSource.DRIVER, "version of the driver, as it gives it"),
    LabelSpec("driver.version.major", LabelSource.DRIVER, "its first number"),
    LabelSpec("driver.version.minor", LabelSource.DRIVER, "its second number"),
    LabelSpec("driver.version.patch", LabelSource.DRIVER, "its third number"),
    LabelSpec("driver.reference", LabelSource.DRIVER, "commit that the driver was built from"),
    LabelSpec("firmware.version", LabelSource.FIRMWARE, "version of the firmware, as it gives it", Extra.FIRMWARE),
    LabelSpec("firmware.version.major", LabelSource.FIRMWARE, "its first number", Extra.FIRMWARE),
    LabelSpec("firmware.version.minor", LabelSource.FIRMWARE, "its second number", Extra.FIRMWARE),
    LabelSpec("firmware.version.patch", LabelSource.FIRMWARE, "its third number", Extra.FIRMWARE),
    LabelSpec("firmware.reference", LabelSource.FIRMWARE, "commit that the firmware was built from", Extra.FIRMWARE),
    LabelSpec("npu.<product>.count", LabelSource.PRODUCT, "cards of this product", Extra.PRODUCT_COUNT),
    LabelSpec("npu.pe.count", LabelSource.CARD, "processing elements of all cards together", Extra.PE_COUNT),
)
"""Every label there can be. docs/labels.md has the same rows."""

_SPECS = {spec.name: spec for spec in TABLE}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the labels of a node are made of.

    Attributes:
        devices: the cards in the node, whether they work or not. Only those that count; see
            :func:`npu_feature_discovery.labels.known_facts.counted`.
        machine: what the firmware says of the machine; None if that could not be read.
    """

    devices: tuple[Device, ...] = ()
    machine: Machine | None = None


@dataclass(frozen=True, slots=True)
class LabelOrigin:
    """One label with where it comes from.

    Attributes:
        key: full key.
        value: its value.
        source: the files that say it, as paths; ``*`` stands for any card's number.
    """

    key: str
    value: str
    source: str


def labels_of(facts: Facts, mixed: Mixed = Mixed.JOIN, extras: Iterable[Extra] = ()) -> Labels:
    """The labels of a node with these facts. Total: every key and value is valid, whatever the cards say.

    What is not known has no label, but for the machine, whose labels then say ``unknown``. A card that does not say
    leaves the word to those that do. A node without cards has a count of 0 and the machine's labels, no others.
    """
    groups = {None, *extras}
    found = dict(_of_machine(facts.machine or Machine()))
    found["npu.count"] = str(len(facts.devices))
    found.update(_of_cards(facts.devices, mixed))
    return {PREFIX + name: found[name] for name in sorted(found) if _spec_of(name).group in groups}


def describe(
    facts: Facts, mixed: Mixed = Mixed.JOIN, extras: Iterable[Extra] = (), *, sysfs: str = "/sys"
) -> tuple[LabelOrigin, ...]:
    """The labels of :func:`labels_of`, in the same order, each with the files below ``sysfs`` that say it."""
    families = sorted({device.arch for device in facts.devices})
    return tuple(
        LabelOrigin(key, value, _source(_spec_of(key.removeprefix(PREFIX)), families, facts.machine, sysfs))
        for key, value in labels_of(facts, mixed, extras).items()
    )


def spec_of(key: str) -> LabelSpec | None:
    """The row that a full key belongs to; None if it is none of ours."""
    name = key.removeprefix(PREFIX)
    if name == key:
        return None
    is_count = name.startswith("npu.") and name.endswith(".count")
    return _SPECS.get(name) or (_SPECS[_product_count(_PRODUCT)] if is_count else None)


def _of_machine(machine: Machine) -> Iterator[tuple[str, str]]:
    yield "machine.vendor", sanitise(machine.vendor or UNKNOWN)
    yield "machine.name", sanitise(machine.name or UNKNOWN)


def _of_cards(devices: tuple[Device, ...], mixed: Mixed) -> Iterator[tuple[str, str]]:
    if not devices:
        return
    yield from _agreed("npu.product", (device.product for device in devices), mixed)
    yield from _agreed("npu.family", (device.arch.value for device in devices), mixed)
    yield from _of_versions("driver", [device.driver for device in devices if device.driver], mixed)
    yield from _of_versions("firmware", [device.firmware for device in devices if device.firmware], mixed)
    yield from _product_counts(devices)
    # Last, so that it stands even if a product is called "pe".
    yield "npu.pe.count", str(sum(device.spec.pe_count for device in devices))


def _of_versions(part: str, versions: list[ComponentVersion], mixed: Mixed) -> Iterator[tuple[str, str]]:
    yield from _agreed(f"{part}.version", (version.number for version in versions), mixed)
    yield from _agreed(f"{part}.reference", (version.reference for version in versions), mixed)
    for name in takewhile(lambda name: _number(versions, name) is not None, ("major", "minor", "patch")):
        yield f"{part}.version.{name}", str(_number(versions, name))


def _number(versions: list[ComponentVersion], name: str) -> int | None:
    """What every version has for its ``major``, ``minor`` or ``patch``; None if they differ."""
    numbers: set[int | None] = {getattr(version, name) for version in versions}
    return numbers.pop() if len(numbers) == 1 else None


def _agreed(name: str, texts: Iterable[str | None], mixed: Mixed) -> Iterator[tuple[str, str]]:
    """The label ``name`` of what all cards say, or what ``mixed`` wants if they differ; nothing if none says it."""
    values = sorted({sanitise(text) for text in texts if text} - {UNKNOWN})
    if len(values) == 1:
        yield name, values[0]
    elif values and mixed is Mixed.JOIN and not any(JOINER in value for value in values):
        joined = JOINER.join(values)
        if len(joined) <= MAX_LENGTH:
            yield name, joined


def _product_counts(devices: tuple[Device, ...]) -> Iterator[tuple[str, str]]:
    counts = Counter(sanitise(device.product) for device in devices if device.product)
    for product, count in counts.items():
        name = _product_count(product)
        if product != UNKNOWN and len(name) <= MAX_LENGTH:
            yield name, str(count)


def _product_count(product: str) -> str:
    return f"npu.{product}.count"


def _spec_of(name: str) -> LabelSpec:
    return _SPECS.get(name) or _SPECS[_product_count(_PRODUCT)]


def _source(spec: LabelSpec, families: list[Arch], machine: Machine | None, sysfs: str) -> str:
    if "{card}" not in spec.source:
        machine = machine or Machine()
        return spec.source.format(sysfs=sysfs, vendor_from=machine.vendor_from, name_from=machine.name_from)
    rows = map(arch_spec, families or Arch)
    cards = (f"{sysfs}/class/{row.sysfs_class}/{row.sysfs_prefix}npu*{row.mgmt_suffix}" for row in rows)
    return ", ".join(spec.source.format(card=card) for card in cards)
