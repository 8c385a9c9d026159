"""What is measured of one node, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostKind:
    """What a node has.

    Attributes:
        family: ``warboy`` or ``renegade``.
        cards: how many.
    """

    family: str
    cards: int

    def __str__(self) -> str:
        """``8 RNGD``."""
        return f"{self.cards} {'Warboy' if self.family == 'warboy' else 'RNGD'}"


@dataclass(frozen=True, slots=True)
class KubeletCost:
    """What the device plugin makes the kubelet of one node do. Counts, and bytes on the wire and on disk.

    Attributes:
        host: the cards.
        cut: ``Fusion`` or ``Single``.
        units: how many the kubelet is told of.
        registrations: at the start.
        messages: of ListAndWatch at the start.
        message_bytes: of one of them, as protobuf.
        writes: of the checkpoint at the start.
        checkpoint_bytes: of the file without a pod.
        rest_messages: of ListAndWatch in the seconds of rest that were watched.
        rest_writes: of the checkpoint in those.
        death_messages: of ListAndWatch when a card dies.
        death_writes: of the checkpoint when a card dies.
        death_statuses: different numbers of allocatable units that the node's status had for that.
        pod_messages: of ListAndWatch when a pod with one unit starts.
        pod_writes: of the checkpoint when a pod with one unit starts.
        pod_bytes: by which that made the checkpoint larger, with its device files below /dev.
    """

    host: HostKind
    cut: str
    units: int
    registrations: int
    messages: int
    message_bytes: int
    writes: int
    checkpoint_bytes: int
    rest_messages: int
    rest_writes: int
    death_messages: int
    death_writes: int
    death_statuses: int
    pod_messages: int
    pod_writes: int
    pod_bytes: int


@dataclass(frozen=True, slots=True)
class PublicationCost:
    """What one publication through the API server asks for.

    Attributes:
        sink: ``node-feature`` or ``node-labels``.
        new: HTTP methods where nothing was published before.
        same: where the same labels were.
        other: where other labels were.
        object_bytes: of what the API server keeps for it, as JSON without blanks.
        request_bytes: of the body of the write that makes it.
    """

    sink: str
    new: tuple[str, ...]
    same: tuple[str, ...]
    other: tuple[str, ...]
    object_bytes: int
    request_bytes: int


@dataclass(frozen=True, slots=True)
class LabelCost:
    """The labels of one node.

    Attributes:
        labels: how many there are, of the specification.
        extra: how many more with every group of ``--extra-labels``.
        file_bytes: of the feature file.
        sinks: both sinks behind the API server.
    """

    labels: int
    extra: int
    file_bytes: int
    sinks: tuple[PublicationCost, ...]


@dataclass(frozen=True, slots=True)
class Exposed:
    """One exposition.

    Attributes:
        series: lines that are samples.
        text: bytes in the text format.
        openmetrics: bytes in OpenMetrics.
        gzip: bytes of the text format compressed, which is what Prometheus asks for.
        dropped: series left out by ``maxSeries``.
    """

    series: int
    text: int
    openmetrics: int
    gzip: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class ScrapeCost:
    """What a scrape of one node's exporter is.

    Attributes:
        host: the cards.
        case: what is different from the defaults; empty for the defaults with a pod on each card.
        exposed: the exposition.
    """

    host: HostKind
    case: str
    exposed: Exposed


@dataclass(frozen=True, slots=True)
class Measured:
    """All of it."""

    kubelet: tuple[KubeletCost, ...]
    labels: LabelCost
    scrapes: tuple[ScrapeCost, ...]
