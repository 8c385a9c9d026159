"""Requests for preferred units, sensible or not, as hypothesis makes them up."""

from dataclasses import dataclass

from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import Device, PciAddress
from npu_core.partition import Partitioning, Unit, units_of
from npu_device_plugin.allocation.preference import preferred
from testkit.strategies import partitionings
from tests.device_plugin.cards import card

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@dataclass(frozen=True, slots=True)
class Request:
    """What the kubelet asks, and the units it asks of."""

    units: tuple[Unit, ...]
    available: tuple[str, ...]
    must_include: tuple[str, ...]
    size: int

    @property
    def answer(self) -> tuple[str, ...]:
        """What is preferred."""
        return preferred(self.units, self.available, self.must_include, self.size)

    @property
    def known(self) -> dict[str, Unit]:
        """The units by id."""
        return {unit.id: unit for unit in self.units}

    @property
    def satisfiable(self) -> bool:
        """Whether there is any right answer."""
        must, known = set(self.must_include), set(self.known)
        usable = known & {*self.available, *must}
        return self.size > 0 and must <= known and len(must) <= self.size <= len(usable)


@st.composite
def machines(draw: st.DrawFn, arch: Arch, max_cards: int, nodes: st.SearchStrategy[int | None]) -> tuple[Device, ...]:
    """Cards of one family anywhere on a machine, with addresses close to each other, far away or unknown."""
    indices = draw(st.lists(st.integers(0, 99), min_size=1, max_size=max_cards, unique=True))
    places = st.one_of(
        st.builds(PciAddress, st.just(0), st.integers(0, 255), st.just(0), st.just(0)),
        st.builds(
            PciAddress, st.sampled_from([0, 1, 0xFFFFFFFF]), st.integers(0, 3), st.integers(0, 31), st.integers(0, 7)
        ),
    )
    return tuple(card(arch, index, numa_node=draw(nodes), pci=str(draw(places))) for index in indices)


@st.composite
def units(
    draw: st.DrawFn,
    max_cards: int = 8,
    nodes: st.SearchStrategy[int | None] = st.one_of(st.none(), st.integers(0, 4)),  # noqa: B008  # immutable
) -> tuple[Unit, ...]:
    """Every unit of a resource."""
    arch = draw(st.sampled_from(list(Arch)))
    devices = draw(machines(arch, max_cards, nodes))
    policy: Partitioning = draw(partitionings(devices[0].spec))
    return tuple(unit for device in devices for unit in units_of(device, policy))


@st.composite
def any_requests(draw: st.DrawFn) -> Request:
    """Requests as nobody should make them."""
    resource = draw(units())
    ids = st.one_of(
        st.sampled_from([unit.id for unit in resource]), st.sampled_from(["", "npu0", "npu255pe0"]), st.text()
    )
    sizes = st.one_of(st.integers(-2, len(resource) + 2), INT32)
    lists = st.lists(ids, max_size=2 * len(resource)).map(tuple)
    return Request(resource, draw(lists), draw(st.lists(ids, max_size=4).map(tuple)), draw(sizes))


@st.composite
def right_requests(draw: st.DrawFn, resource: st.SearchStrategy[tuple[Unit, ...]], max_available: int = 64) -> Request:
    """Requests as the kubelet makes them: what must be included is available, and there is enough."""
    every = draw(resource)
    shuffled = draw(st.permutations([unit.id for unit in every]))
    available = shuffled[: draw(st.integers(1, min(max_available, len(shuffled))))]
    size = draw(st.integers(1, len(available)))
    must = available[: draw(st.integers(0, min(size, 3)))]
    return Request(every, tuple(available), tuple(must), size)
