"""The real families, series and rendering of the exporter: series and bytes of a scrape, by node and by options."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from npu_core.claims import Claim, Container, KnownCard
from npu_core.device import CardKey, Device, Rejected
from npu_core.host import Host
from npu_core.partition import FUSION, SINGLE, Partitioning, units_of
from npu_core.testing import FakeHost, Simulation
from npu_metrics_exporter.card_look import CounterLook, look_at_card
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.metrics.podmap import PodMap
from npu_metrics_exporter.metrics.policy import ExportPolicy, PodLabels, Units
from npu_metrics_exporter.metrics.render import Exposition, Renderer
from npu_metrics_exporter.metrics.self_metrics import Moment, PodResourcesStats, own_families
from npu_metrics_exporter.metrics.series import Budget, families
from npu_metrics_exporter.metrics.snapshot import Snapshot
from tools.scale.hosts import plans
from tools.scale.measured import Exposed, HostKind, ScrapeCost

KINDS = (
    *(HostKind("warboy", cards) for cards in (1, 2, 4, 8, 64)),
    *(HostKind("renegade", cards) for cards in (1, 4, 8, 64)),
)
NODE = "npu-node-0001"
RESOURCE = "beta.furiosa.ai/npu"
_BETWEEN_LOOKS = 0.25
"""Seconds: the counters of a Warboy are full after two."""
_WALL = 1_750_000_000.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is different from the defaults.

    Attributes:
        name: for people; the option as an operator would give it.
        policy: what is exported.
        cut: into what the containers' units are cut, one container for each; None if nobody holds anything.
    """

    name: str
    policy: ExportPolicy = field(default_factory=lambda: ExportPolicy(node=NODE))
    cut: Partitioning | None = FUSION


def _only(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in patterns)


DEFAULTS = Case("")
EMPTY = Case("no pods", cut=None)
BASE = Case("--units=base", ExportPolicy(units=Units.BASE, node=NODE))
SPEC = Case("--units=spec", ExportPolicy(units=Units.SPEC, node=NODE))
BY_HOST = (DEFAULTS, EMPTY, BASE, SPEC)
"""Of every kind of host."""
OPTIONS = (
    Case("a pod on each PE (Single)", cut=SINGLE),
    Case("--pod-labels=inline", ExportPolicy(pod_labels=PodLabels.INLINE, node=NODE)),
    Case("--pod-labels=off", ExportPolicy(pod_labels=PodLabels.OFF, node=NODE)),
    Case("--drop-labels=uuid,pci_bus_id", ExportPolicy(drop=frozenset({"uuid", "pci_bus_id"}), node=NODE)),
    Case("--exclude='.*_cycles?(_.*)?'", ExportPolicy(exclude=_only(".*_cycles?(_.*)?"), node=NODE)),
    Case(
        "--units=base --include-sensors='.*TOTAL,PCI Total.*,PEAK,Peak'",
        ExportPolicy(units=Units.BASE, include_sensors=_only(".*TOTAL", "PCI Total.*", "PEAK", "Peak"), node=NODE),
    ),
    Case("--max-series=500", ExportPolicy(max_series=500, node=NODE)),
)
"""Of the largest node that is common; a limit of 500 is there to be seen at work."""
OPTIONS_HOSTS = (HostKind("warboy", 8), HostKind("renegade", 8))


def measure() -> tuple[ScrapeCost, ...]:
    """Every kind of host, and the options on two of them. Takes about three seconds."""
    return tuple(cost for kind in KINDS for cost in measure_host(kind))


def measure_host(kind: HostKind) -> Iterator[ScrapeCost]:
    """One host in every case that is told of it."""
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        host = FakeHost(Path(place), *plans(kind))
        snapshot = look_at_work(host)
    for case in (*BY_HOST, *(OPTIONS if kind in OPTIONS_HOSTS else ())):
        yield ScrapeCost(kind, case.name, exposed(snapshot, case))


def look_at_work(host: FakeHost) -> Snapshot:
    """All cards, looked at twice while they work, so that everything that can be told of them is."""
    opened, working = host.open(), Simulation(host)
    working.step(_BETWEEN_LOOKS)
    _, before = _look(opened, {}, 0.0)
    working.step(_BETWEEN_LOOKS)
    snapshot, _ = _look(opened, before, _BETWEEN_LOOKS)
    return snapshot


def _look(host: Host, before: dict[CardKey, CounterLook], now: float) -> tuple[Snapshot, dict[CardKey, CounterLook]]:
    found, counters = host.find(), {}
    snapshot = Snapshot().with_listing(found, now)
    for card in found:
        seen = look_at_card(host, card, None, before.get(card.key, CounterLook()), lambda: now)
        assert not isinstance(seen, Rejected)
        report, counters[card.key] = seen
        snapshot = snapshot.with_report(report, _WALL)
    return snapshot, counters


def exposed(snapshot: Snapshot, case: Case) -> Exposed:
    """What a scrape gives in this case, the exporter's own metrics included."""
    devices = [card.device for card in snapshot.cards if card.device]
    pods = PodMap.of(_claims(devices, case.cut), [KnownCard(device) for device in devices])
    first, _ = _rendered(snapshot, pods, case.policy, None)
    made, dropped = _rendered(snapshot, pods, case.policy, first)
    series = sum(not line.startswith(b"#") for line in made.text.splitlines())
    return Exposed(series, len(made.text), len(made.openmetrics), len(made.text_gzip), dropped)


def _rendered(
    snapshot: Snapshot, pods: PodMap, policy: ExportPolicy, last: Exposition | None
) -> tuple[Exposition, int]:
    renderer, budget = Renderer(), Budget(policy.max_series)
    for family in families(snapshot, pods, policy, budget):
        renderer.add(family)
    questions = None if policy.pod_labels is PodLabels.OFF else PodResourcesStats(up=True)
    for own in own_families(Moment(snapshot, _telemetry(), questions, last)):
        renderer.add(own)
    return renderer.finish(page=b"", rendered_at=_WALL), budget.dropped


def _telemetry() -> Counters:
    """Of an exporter that has been scraped, and has collected once in a few milliseconds."""
    made = Counters(listing_up=True, heartbeat=_WALL)
    made.scrapes[200] = 1
    made.collections.observe(0.0051)
    return made


def _claims(devices: list[Device], cut: Partitioning | None) -> Iterator[Claim]:
    """A pod of a Deployment for each unit."""
    units = [] if cut is None else [unit for device in devices for unit in units_of(device, cut)]
    for number, unit in enumerate(units):
        pod = f"inference-7c9d8b6f5-{number:05x}"
        yield Claim(RESOURCE, unit.id, container=Container("team-a", pod, "main"), container_name="main")
