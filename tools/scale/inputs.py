"""Everything that is assumed, by name and with its unit: what is measured is not here."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes, and how their pods come back."""

    nodes: int = 5000
    """Nodes with cards."""
    spread: float = 10.0
    """Seconds within which the pods of all nodes start when all start at once: kubelets take a moment each."""
    fastest_restart: float = 5.0
    """Seconds from the end of a pod to its program at work, at least."""
    slowest_restart: float = 15.0
    """Seconds of the same, at most."""
    probe_period: float = 10.0
    """Seconds between two readiness probes, as the manifest has it."""
    outage: float = 300.0
    """Seconds for which the API server is away in the bad case, from the moment that the pods start."""


@dataclass(frozen=True, slots=True)
class Server:
    """What one API server has for requests of ours; others' are taken to have the rest."""

    seats: int
    """Requests at work at once."""
    waiting: int
    """Requests that wait at most; one more is answered 429."""
    read: float
    """Seconds that a GET takes."""
    write: float
    """Seconds that a write takes."""
    retry_after: float = 1.0
    """Seconds, as 429 asks for."""


DEFAULT_SERVER = Server(seats=98, waiting=300, read=0.010, write=0.025)
"""One kube-apiserver with its default flags: of its 600 seats 40 in 245 belong to ``workload-high``, where the service
accounts of kube-system are; those are one flow, whose hand has 6 queues of 50. The times are assumed."""
BUSY_SERVER = Server(seats=10, waiting=300, read=0.050, write=0.100)
"""One that has little left and is slow: 200 reads or 100 writes in a second."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """What a publication through the API server takes beside the server."""

    child: float = 0.3
    """Seconds until the child sends its first request; measured on an idle machine (docs/adr/0012)."""
    proxy_retry_after: float = 30.0
    """Seconds that a load balancer asks for with its 503 while no API server is behind it."""


@dataclass(frozen=True, slots=True)
class Nfd:
    """What Node Feature Discovery does, by its sources (v0.14 to v0.18)."""

    worker_period: float = 60.0
    """Seconds between two runs of an nfd-worker."""
    reads_at_rest: int = 1
    """GETs of each run: the worker looks at its NodeFeature whether or not something changed."""
    requests_per_change: int = 3
    """Of a changed file: the worker's PUT, nfd-master's GET and PATCH of the node."""
    watchers: int = 1
    """nfd-master processes that watch NodeFeatures."""
    node_watchers: int = 20
    """Whoever watches every Node: scheduler, controllers, CNI, monitoring. A kubelet watches its own alone."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One Prometheus that scrapes all of them."""

    intervals: tuple[float, ...] = (15.0, 30.0)
    """Seconds between two scrapes of a node."""
    own_series: int = 5
    """Series that it adds to each target: ``up``, ``scrape_*``."""
    series_bytes: int = 4096
    """Bytes of memory for a series in the head, all told. Published estimates are from 2 to 8 KiB."""
    sample_bytes: float = 1.5
    """Bytes on disk for a sample; its documentation says 1 to 2."""
    head_hours: float = 3.0
    """Hours for which a series that has ended stays in the head."""
    pod_starts: int = 24
    """Starts of NPU pods on a node in a day; each has one card."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All of them."""

    cluster: Cluster = field(default_factory=Cluster)
    server: Server = DEFAULT_SERVER
    busy: Server = BUSY_SERVER
    publishing: Publishing = field(default_factory=Publishing)
    nfd: Nfd = field(default_factory=Nfd)
    prometheus: Prometheus = field(default_factory=Prometheus)
    seed: int = 1
    """Of the simulation's chances."""


def changed(inputs: Inputs, change: str) -> Inputs:
    """The inputs with one of them changed, ``cluster.nodes=100``.

    Raises:
        ValueError: if there is no such input, or the value is not of its kind.
    """
    name, _, text = change.partition("=")
    path = name.split(".")
    try:
        made: Inputs = _with(inputs, path, text)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{change!r}: expected one of {', '.join(names())} and a number") from error
    return made


def _with(value: Any, path: list[str], text: str) -> Any:  # noqa: ANN401  # any of the classes above
    first, *rest = path
    now = getattr(value, first)
    return replace(value, **{first: _with(now, rest, text) if rest else _parsed(now, text)})


def _parsed(now: object, text: str) -> object:
    if isinstance(now, tuple):
        return tuple(float(part) for part in text.split(","))
    if isinstance(now, (int, float)):
        return type(now)(text)
    raise TypeError


def names() -> tuple[str, ...]:
    """Every input that can be changed, ``cluster.nodes``."""
    inputs = Inputs()
    groups = [(group.name, getattr(inputs, group.name)) for group in fields(inputs) if group.name != "seed"]
    return (*(f"{name}.{each.name}" for name, group in groups for each in fields(group)), "seed")


@dataclass(frozen=True, slots=True)
class Described:
    """One input, for people.

    Attributes:
        name: as :func:`changed` takes it.
        value: what it is now.
        meaning: its docstring, which has the unit.
    """

    name: str
    value: str
    meaning: str


def described(inputs: Inputs) -> Iterator[Described]:
    """All inputs, in order."""
    for name in names():
        *groups, last = name.split(".")
        owner = getattr(inputs, groups[0]) if groups else inputs
        value = getattr(owner, last)
        text = ", ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"
        yield Described(name, text, _docstrings(type(owner))[last])


def _docstrings(kind: type) -> dict[str, str]:
    """What is written below each attribute of a class; Python itself forgets it."""
    (made,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(made, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in pairwise(made.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            assert isinstance(following.value, ast.Constant)
            found[statement.target.id] = " ".join(str(following.value.value).replace("``", "`").split())
    return found
