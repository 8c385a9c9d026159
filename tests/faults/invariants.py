"""What must hold whatever happens. Pure: over what the kubelet was told, what pods were given, and what is wished for.

Every check gives the sentences that say what is wrong; none if nothing is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePosixPath

from npu_core.arch import ArchSpec
from npu_core.cores import CoreRange
from npu_core.errors import FormatError
from npu_core.parse.devfs import parse_device_file
from npu_core.partition import FUSION, Partitioning, UnitId, partitionings_of
from standins.kubelet import ContainerGrant, PluginDevice, PodView


@dataclass(frozen=True, slots=True)
class Holder:
    """One unit that a container holds."""

    pod: str
    unit: UnitId

    def __str__(self) -> str:
        return f"{self.unit} (held by {self.pod})"


@dataclass(frozen=True, slots=True)
class Disabled:
    """An entry of ``disabledDevices``: how it is written, and what it means. That is not parsed here."""

    name: str
    index: int
    cores: CoreRange | None = None
    """None for the whole card."""

    def covers(self, unit: UnitId) -> bool:
        """Whether the unit may not be offered."""
        return unit.index == self.index and (self.cores is None or self.cores.overlaps(unit.cores))


def holders(pods: Iterable[PodView]) -> tuple[Holder, ...]:
    """Every unit that a container of a pod that is not over was given."""
    return tuple(
        Holder(pod.name, UnitId.parse(text))
        for pod in pods
        if pod.admitted is not None and not pod.phase.terminal
        for container in pod.admitted.containers
        for ids in container.device_ids.values()
        for text in ids
    )


def _share_cores(one: UnitId, other: UnitId) -> bool:
    return one.index == other.index and one.cores.overlaps(other.cores)


# -- cores are held once ----------------------------------------------------------------------------------------------


def double_holds(held: Collection[Holder]) -> Iterator[str]:
    """No core is held by two containers."""
    for one, other in combinations(held, 2):
        if _share_cores(one.unit, other.unit):
            yield f"cores held twice: {one} and {other}"


# -- what the kubelet is told -----------------------------------------------------------------------------------------


def units_of(devices: Iterable[PluginDevice]) -> dict[UnitId, bool]:
    """The listed units, and whether each is healthy. Names that are no units are left out."""
    units: dict[UnitId, bool] = {}
    for device in devices:
        try:
            units[UnitId.parse(device.id)] = device.healthy
        except FormatError:
            continue
    return units


def listing_problems(devices: Collection[PluginDevice], spec: ArchSpec, indices: Iterable[int]) -> Iterator[str]:
    """Only units of cards that exist or existed are listed, each once, and no two share a core."""
    units = units_of(devices)
    if len(units) != len(devices):
        yield "a name that is no unit's, or a unit twice"
    ranges = {cores for policy in partitionings_of(spec) for cores in policy.core_ranges(spec)}
    possible = {UnitId(index, cores) for index in indices for cores in ranges}
    yield from (f"invented: {unit}" for unit in units if unit not in possible)
    for one, other in combinations(units, 2):
        if _share_cores(one, other):
            yield f"listed units share cores: {one} and {other}"


def holder_problems(units: Mapping[UnitId, bool], held: Iterable[Holder], known: Collection[int]) -> Iterator[str]:
    """Of a held unit's cores nothing else is offered, and the unit stays listed, healthy or not.

    Args:
        units: the listed units, and whether each is healthy.
        held: what containers hold.
        known: indices of the cards that the process has seen; of others it cannot list anything.
    """
    for holder in held:
        for unit, healthy in units.items():
            if healthy and unit != holder.unit and _share_cores(unit, holder.unit):
                yield f"{unit} is offered beside {holder}"
        if holder.unit.index in known and holder.unit not in units:
            yield f"not listed any more: {holder}"


# -- what a container gets --------------------------------------------------------------------------------------------


def grant_problems(grant: ContainerGrant, spec: ArchSpec) -> Iterator[str]:
    """Environment and device files are those of the units, all of them and no others."""
    units = sorted((UnitId.parse(text) for ids in grant.device_ids.values() for text in ids), key=_by_place)
    parts = [UnitId(unit.index, cores) for unit in units for cores in _opened(unit.cores)]
    expected = {
        "NPU_DEVNAME": ",".join(map(str, parts)),
        "FURIOSA_DEVICES": ",".join(f"npu:{part.index}:{part.cores}" for part in parts),
        "NPU_NPUNAME": ",".join(dict.fromkeys(part.card for part in parts)),
        "NPU_PENAME": ",".join(f"pe{part.cores}" for part in parts),
    }
    if dict(grant.env) != expected:
        yield f"environment {dict(grant.env)}, expected {expected}"
    names = [PurePosixPath(node.host_path).name for node in grant.devices]
    yield from (f"{part} was not given its device file" for part in parts if str(part) not in names)
    for name in names:
        file = parse_device_file(spec, name)
        if not any(file.card == unit.card and _opens_within(file.cores, unit) for unit in units):
            yield f"{name} was given with {', '.join(map(str, units))}"


def _by_place(unit: UnitId) -> tuple[int, CoreRange]:
    return unit.index, unit.cores


def _opened(cores: CoreRange) -> tuple[CoreRange, ...]:
    """RNGD has no device file for eight cores; four are the most that one opens."""
    return cores.split(4) if len(cores) > 4 else (cores,)


def _opens_within(cores: CoreRange | None, unit: UnitId) -> bool:
    return cores is None or unit.cores.encloses(cores)


# -- after everything was healed --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """What a healthy card is to be listed as."""

    spec: ArchSpec
    index: int
    wish: Partitioning
    held: frozenset[CoreRange]
    recent: frozenset[CoreRange]
    """Given out so lately that the plugin may still count them as held."""
    disabled: tuple[Disabled, ...]

    def problems(self, units: Mapping[UnitId, bool]) -> Iterator[str]:
        """Why the card is not listed as it is to be."""
        mine = {unit: healthy for unit, healthy in units.items() if unit.index == self.index}
        found = {policy: tuple(self._differences(mine, policy)) for policy in self._policies()}
        if all(found.values()):
            listed = ", ".join(f"{unit} {'healthy' if healthy else 'unhealthy'}" for unit, healthy in mine.items())
            yield f"npu{self.index} is listed as [{listed}]: " + "; or ".join(
                f"cut as {policy}, {', '.join(differences)}" for policy, differences in found.items()
            )

    def _policies(self) -> tuple[Partitioning, ...]:
        """How the card may be cut: as wished, unless a holder knows it otherwise."""
        goal = self.wish if self.wish.fits(self.spec) else FUSION
        if self._suits(goal, self.held | self.recent):
            return (goal,)
        others = tuple(policy for policy in partitionings_of(self.spec) if self._suits(policy, self.held))
        return (goal, *others) if self._suits(goal, self.held) else others

    def _suits(self, policy: Partitioning, held: frozenset[CoreRange]) -> bool:
        return held <= set(policy.core_ranges(self.spec))

    def _differences(self, mine: Mapping[UnitId, bool], policy: Partitioning) -> Iterator[str]:
        units = [UnitId(self.index, cores) for cores in policy.core_ranges(self.spec)]
        yield from (f"{unit} is none of its units" for unit in mine if unit not in units)
        for unit in units:
            allowed = self._allowed(unit)
            if mine.get(unit) not in allowed:
                yield f"{unit} is {_WORDS[mine.get(unit)]}"

    def _allowed(self, unit: UnitId) -> set[bool | None]:
        """Healthy, unhealthy (False) or not listed (None)."""
        held, recent = (any(unit.cores.overlaps(cores) for cores in ranges) for ranges in (self.held, self.recent))
        if any(entry.covers(unit) for entry in self.disabled):
            if held:
                return {False}
            return {False, None} if recent else {None}
        others = {cores for cores in self.recent if cores != unit.cores and unit.cores.overlaps(cores)}
        return {True, False} if others else {True}


_WORDS = {True: "healthy", False: "unhealthy", None: "not listed"}
