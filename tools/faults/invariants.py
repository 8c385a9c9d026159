"""What must hold whatever happens. Pure: over what the kubelet was told, what pods were given, and what is wished for.

Every check gives the sentences that say what is wrong; none if nothing is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePosixPath

from npu_core.arch import Arch, ArchSpec, arch_spec
from npu_core.cores import CoreRange
from npu_core.device import CardKey
from npu_core.errors import FormatError
from npu_core.parse.devfs import parse_device_file
from npu_core.partition import FUSION, Partitioning, UnitId, partitionings_of
from testkit.standins.kubelet import ContainerGrant, PluginDevice

_DEV = PurePosixPath("/dev")


@dataclass(frozen=True, slots=True)
class Holder:
    """One unit that a container of a live pod holds, whether or not the container has begun or ended.

    Attributes:
        pod: the pod's name.
        container: the container's name.
        resource: the resource that the pod asked for.
        card: the card whose device files the container was given, by the first number that the card had.
        unit: the unit by the id that the kubelet knows.
    """

    pod: str
    container: str
    resource: str
    card: CardKey
    unit: UnitId

    def __str__(self) -> str:
        return f"{self.unit} of {self.resource} ({self.card[0]}), held by {self.pod}/{self.container}"

    def shares_cores(self, card: CardKey, cores: CoreRange) -> bool:
        """Whether the held unit has some of these cores."""
        return self.card == card and self.unit.cores.overlaps(cores)


@dataclass(frozen=True, slots=True)
class Disabled:
    """An entry of ``disabledDevices``: how it is written, and what it means. That is not parsed here."""

    name: str
    index: int
    """The card's number; for an entry by UUID or PCI address the first one that the card had."""
    cores: CoreRange | None = None
    """None for the whole card."""
    arch: Arch | None = None
    """None for the cards of every family with that number."""

    def means(self, arch: Arch, numbers: Collection[int]) -> bool:
        """Whether a card with these numbers is meant, or some of its cores."""
        return self.arch in (None, arch) and self.index in numbers

    def covers(self, arch: Arch, numbers: Collection[int], cores: CoreRange) -> bool:
        """Whether a unit may not be offered."""
        return self.means(arch, numbers) and (self.cores is None or self.cores.overlaps(cores))


def family_of(grant: ContainerGrant, unit: UnitId) -> Arch | None:
    """The family of the card that the unit is on, by the device files the container was given; None if unclear."""
    names = _names_by_directory(grant)
    found = [
        arch
        for arch in Arch
        if any(name in names.get(arch_spec(arch).device_dir, ()) for name in map(str, _parts(unit)))
    ]
    return found[0] if len(found) == 1 else None


def _names_by_directory(grant: ContainerGrant) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for node in grant.devices:
        path = PurePosixPath(node.host_path).relative_to(_DEV)
        names.setdefault("" if str(path.parent) == "." else str(path.parent), set()).add(path.name)
    return names


# -- cores are held once ----------------------------------------------------------------------------------------------


def double_holds(held: Collection[Holder]) -> Iterator[str]:
    """No core is held by two containers.

    Within a pod, a unit passes from an init container to a later one under its id. The kubelet sees to that.
    """
    for one, other in combinations(held, 2):
        passed_on = (one.pod, one.resource, one.unit) == (other.pod, other.resource, other.unit)
        if one.shares_cores(other.card, other.unit.cores) and not passed_on:
            yield f"cores held twice: {one} and {other}"


# -- what the kubelet is told -----------------------------------------------------------------------------------------


def listing_problems(devices: Collection[PluginDevice], known: Collection[UnitId], family: Arch) -> Iterator[str]:
    """Only ids that may exist are listed, each once, and of those that share cores at most one is healthy.

    Args:
        devices: what the kubelet was told.
        known: every id that a card of the machine can have, and every id that a pod was ever given.
        family: the family that the resource is of now.
    """
    units = dict[UnitId, bool]()
    for device in devices:
        unit = _parsed(device.id)
        if unit is None:
            yield f"{device.id!r} is no unit's name"
        elif unit in units:
            yield f"a unit twice: {unit}"
        else:
            units[unit] = device.healthy
    yield from (f"invented: {unit}" for unit in units if unit not in known)
    healthy = [unit for unit, is_healthy in units.items() if is_healthy]
    for unit in healthy:
        if not arch_spec(family).cores.encloses(unit.cores):
            yield f"healthy, and no unit of {family}: {unit}"
    for one, other in combinations(healthy, 2):
        if one.index == other.index and one.cores.overlaps(other.cores):
            yield f"healthy units share cores: {one} and {other}"


def _parsed(text: str) -> UnitId | None:
    try:
        return UnitId.parse(text)
    except FormatError:
        return None


def vanished(devices: Iterable[PluginDevice], resource: str, held: Iterable[Holder]) -> Iterator[str]:
    """What a live pod holds stays listed, healthy or not: some kubelets die of an id that is not there."""
    listed = {device.id for device in devices}
    for holder in held:
        if holder.resource == resource and str(holder.unit) not in listed:
            yield f"not listed any more: {holder}"


def offered_twice(
    devices: Iterable[PluginDevice], resource: str, cards: Mapping[int, CardKey], held: Iterable[Holder]
) -> Iterator[str]:
    """Nothing healthy shares a core with a unit that is held under another id or another resource.

    Args:
        devices: what the kubelet was told.
        resource: the resource's name.
        cards: the resource's cards by the number that they have now.
        held: what is held.
    """
    healthy = [unit for device in devices if device.healthy and (unit := _parsed(device.id)) is not None]
    for holder in held:
        for unit in healthy:
            by_same_id = (holder.resource, holder.unit) == (resource, unit)
            if not by_same_id and unit.index in cards and holder.shares_cores(cards[unit.index], unit.cores):
                yield f"{unit} of {resource} is healthy beside {holder}"


# -- what a container gets --------------------------------------------------------------------------------------------


def grant_problems(grant: ContainerGrant, families: Mapping[str, Arch]) -> Iterator[str]:
    """Environment and device files are those of the units: no other files, and the core files of all of them.

    A container with units of two resources has the environment of the first one: the kubelet merges so.

    Args:
        grant: what the container runs with.
        families: the family of each resource.
    """
    units = {
        resource: sorted(map(UnitId.parse, ids), key=_by_place) for resource, ids in grant.device_ids.items() if ids
    }
    for chosen in list(units.values())[:1]:
        if dict(grant.env) != (expected := _environment(chosen)):
            yield f"environment {dict(grant.env)}, expected {expected}"
    names = _names_by_directory(grant)
    for resource, chosen in units.items():
        spec = arch_spec(families[resource])
        given = names.pop(spec.device_dir, set())
        for part in (part for unit in chosen for part in _parts(unit)):
            if str(part) not in given:
                yield f"{part} was not given its device file"
        for name in given:
            file = parse_device_file(spec, name)
            if not any(file.card == unit.card and _opens_within(file.cores, unit) for unit in chosen):
                yield f"{name} was given with {', '.join(map(str, chosen))}"
    for directory, strange in names.items():
        yield f"device files of no unit's family: {directory} {sorted(strange)}"


def lacking_files(grant: ContainerGrant, families: Mapping[str, Arch]) -> Iterator[tuple[CardKey, str]]:
    """The files of the whole card, and of the units' cores, that the container was not given: card and suffix."""
    names = _names_by_directory(grant)
    for resource, ids in grant.device_ids.items():
        spec = arch_spec(families[resource])
        for unit in map(UnitId.parse, ids):
            cores = (f"pe{part}" for part in spec.core_files if unit.cores.encloses(part))
            for suffix in (*spec.granted_suffixes, *cores):
                if unit.card + suffix not in names.get(spec.device_dir, ()):
                    yield (spec.arch, unit.index), suffix


def _environment(units: Iterable[UnitId]) -> dict[str, str]:
    parts = [part for unit in units for part in _parts(unit)]
    return {
        "NPU_DEVNAME": ",".join(map(str, parts)),
        "FURIOSA_DEVICES": ",".join(f"npu:{part.index}:{part.cores}" for part in parts),
        "NPU_NPUNAME": ",".join(dict.fromkeys(part.card for part in parts)),
        "NPU_PENAME": ",".join(f"pe{part.cores}" for part in parts),
    }


def _parts(unit: UnitId) -> tuple[UnitId, ...]:
    """What is opened of a unit: RNGD has no device file for eight cores, and four are the most that one opens."""
    ranges = unit.cores.split(4) if len(unit.cores) > 4 else (unit.cores,)
    return tuple(UnitId(unit.index, cores) for cores in ranges)


def _by_place(unit: UnitId) -> tuple[int, CoreRange]:
    return unit.index, unit.cores


def _opens_within(cores: CoreRange | None, unit: UnitId) -> bool:
    return cores is None or unit.cores.encloses(cores)


# -- after everything was healed --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """What a healthy card is to be listed as.

    Attributes:
        card: the card, by the number that it has.
        numbers: every number that the plugin has seen it with.
        wish: how it is to be cut.
        held: its cores that live pods hold by the ids of its resource.
        held_otherwise: its cores that live pods hold under another resource or another number.
        strays: cores that live pods hold by its number and resource, on another family's card: when the pods began, the
            resource was that family's.
        recent: its cores that pods held that ended: the plugin may still count them as held.
        disabled: what is not to be offered.
    """

    card: CardKey
    numbers: frozenset[int]
    wish: Partitioning
    held: frozenset[CoreRange]
    held_otherwise: frozenset[CoreRange]
    strays: frozenset[CoreRange]
    recent: frozenset[CoreRange]
    disabled: tuple[Disabled, ...]

    @property
    def _spec(self) -> ArchSpec:
        return arch_spec(self.card[0])

    def problems(self, units: Mapping[UnitId, bool]) -> Iterator[str]:
        """Why the card is not listed as it is to be.

        Args:
            units: what is listed for the card's resource, and whether it is healthy.
        """
        mine = {unit.cores: healthy for unit, healthy in units.items() if unit.index == self.card[1]}
        found = {policy: tuple(self._differences(mine, policy)) for policy in self._policies()}
        if all(found.values()):
            listed = ", ".join(f"pe{cores} {'healthy' if healthy else 'unhealthy'}" for cores, healthy in mine.items())
            yield f"npu{self.card[1]} ({self.card[0]}) is listed as [{listed}]: " + "; or ".join(
                f"cut as {policy}, {', '.join(differences)}" for policy, differences in found.items()
            )

    def _policies(self) -> tuple[Partitioning, ...]:
        """How the card may be cut: as wished, unless a holder knows it otherwise."""
        goal = self.wish if self.wish.fits(self._spec) else FUSION
        held = self.held | self.held_otherwise
        if self._suits(goal, held | self.recent | self.strays):
            return (goal,)
        others = tuple(policy for policy in partitionings_of(self._spec) if self._suits(policy, held))
        # Where no cut has all that is held, the card stays as it was.
        return others or partitionings_of(self._spec)

    def _suits(self, policy: Partitioning, held: frozenset[CoreRange]) -> bool:
        return held <= set(policy.core_ranges(self._spec))

    def _differences(self, mine: Mapping[CoreRange, bool], policy: Partitioning) -> Iterator[str]:
        units = policy.core_ranges(self._spec)
        kept = (self.held | self.strays).difference(units)
        for cores in units:
            if mine.get(cores) not in self._allowed(cores):
                yield f"pe{cores} is {_WORDS[mine.get(cores)]}"
        for cores in kept:
            if mine.get(cores) is not False:
                yield f"pe{cores}, held and no unit, is {_WORDS[mine.get(cores)]}"
        for cores in mine:
            if cores not in {*units, *kept} and (mine[cores] or cores not in self.recent):
                yield f"pe{cores} is none of its units"

    def _allowed(self, cores: CoreRange) -> set[bool | None]:
        """Healthy, unhealthy (False) or not listed (None)."""
        held, doubtful = (
            any(cores.overlaps(each) for each in ranges)
            for ranges in (self.held | self.held_otherwise, self.recent | self.strays)
        )
        if any(entry.covers(self.card[0], self.numbers, cores) for entry in self.disabled):
            if held:
                return {False}
            return {False, None} if doubtful else {None}
        otherwise = {*self.held_otherwise, *(each for each in self.held if each != cores)}
        if any(cores.overlaps(each) for each in otherwise):
            return {False}
        return {True, False} if doubtful else {True}


_WORDS = {True: "healthy", False: "unhealthy", None: "not listed"}
