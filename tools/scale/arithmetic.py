"""One node's measured figures times the nodes (pure)."""

from dataclasses import dataclass

from tools.scale.inputs import Inputs
from tools.scale.measured import Exposed, LabelCost, PublicationCost, ScrapeCost

_DAY = 86_400.0
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Ingest:
    """What one Prometheus takes from all nodes.

    Attributes:
        series: in the head, those that churn makes aside.
        samples: in a second.
        network: bytes in a second, compressed.
        memory: bytes for the series of the head.
        disk: bytes in a day.
    """

    series: int
    samples: float
    network: float
    memory: int
    disk: float


def ingest(exposed: Exposed, interval: float, inputs: Inputs) -> Ingest:
    """All nodes of this kind, scraped every ``interval`` seconds."""
    nodes, prometheus = inputs.cluster.nodes, inputs.prometheus
    series = nodes * (exposed.series + prometheus.own_series)
    samples = series / interval
    return Ingest(
        series=series,
        samples=samples,
        network=nodes * exposed.gzip / interval,
        memory=series * prometheus.series_bytes,
        disk=samples * _DAY * prometheus.sample_bytes,
    )


@dataclass(frozen=True, slots=True)
class Churn:
    """Series that pods make and end.

    Attributes:
        per_day: new ones in a day, of all nodes.
        in_head: of those that ended, how many the head still has.
        memory: bytes that these take.
    """

    per_day: int
    in_head: int
    memory: int


def churn(series_per_start: int, inputs: Inputs) -> Churn:
    """Where the start of a pod makes so many new series."""
    prometheus = inputs.prometheus
    per_day = inputs.cluster.nodes * prometheus.pod_starts * series_per_start
    in_head = round(per_day * prometheus.head_hours * _HOUR / _DAY)
    return Churn(per_day, in_head, in_head * prometheus.series_bytes)


def series_of_a_card(few: ScrapeCost, many: ScrapeCost) -> int:
    """Series that one more card makes, of two hosts of one family."""
    return (many.exposed.series - few.exposed.series) // (many.host.cards - few.host.cards)


@dataclass(frozen=True, slots=True)
class Kept:
    """What labels cost the API server's store and its watchers.

    Attributes:
        name: of the way they take.
        store: bytes in etcd for all nodes.
        events: watch events when the labels of all nodes change once.
        event_bytes: of these together, as JSON; of an event of a Node only what is ours.
    """

    name: str
    store: int
    events: int
    event_bytes: int


def kept(labels: LabelCost, inputs: Inputs) -> tuple[Kept, ...]:
    """Both sinks behind the API server. nfd-master makes node labels of a NodeFeature, so that has both."""
    feature, node = (next(one for one in labels.sinks if one.sink == name) for name in ("node-feature", "node-labels"))
    on_nodes = _kept(node, inputs.nfd.node_watchers, inputs)
    objects = _kept(feature, inputs.nfd.watchers, inputs)
    both = Kept(
        feature.sink,
        objects.store + on_nodes.store,
        objects.events + on_nodes.events,
        objects.event_bytes + on_nodes.event_bytes,
    )
    return both, on_nodes


def _kept(cost: PublicationCost, watchers: int, inputs: Inputs) -> Kept:
    store = inputs.cluster.nodes * cost.object_bytes
    return Kept(cost.sink, store, inputs.cluster.nodes * watchers, store * watchers)


@dataclass(frozen=True, slots=True)
class NfdLoad:
    """What NFD asks the API server for.

    Attributes:
        rest: requests in a second when nothing changes, with or without us.
        changed: more of them in a second, for one period of the workers, when all feature files change at once.
        total: how many more those are.
    """

    rest: float
    changed: float
    total: int


def nfd_load(inputs: Inputs) -> NfdLoad:
    """Of all nodes, with workers that run at any time of their period."""
    nodes, nfd = inputs.cluster.nodes, inputs.nfd
    total = nodes * nfd.requests_per_change
    return NfdLoad(nodes * nfd.reads_at_rest / nfd.worker_period, total / nfd.worker_period, total)
