"""The feature discoveries of all nodes and one API server, event by event."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tools.scale.behaviour import API_TIMEOUT, Times, turn_from
from tools.scale.inputs import Publishing, Server
from tools.scale.server import Answer, ApiServer, FullError, Request, Verb


@dataclass(frozen=True, slots=True)
class Rollout:
    """A DaemonSet that renews its pods, so many at once; the next begins when one is ready.

    Attributes:
        unavailable: pods at once, ``maxUnavailable``.
        fastest: seconds from the end of a pod to its program at work, at least.
        slowest: seconds of the same, at most.
        probe_period: seconds between two readiness probes.
    """

    unavailable: int
    fastest: float
    slowest: float
    probe_period: float


@dataclass(frozen=True, slots=True)
class Story:
    """What happens. Times are seconds from its beginning.

    Attributes:
        nodes: how many there are.
        asks: the requests of a first publication; none for a sink that needs no API server.
        server: the API server.
        spread: seconds within which the pods start.
        rollout: how they start instead.
        publishing: what a publication takes beside the server.
        times: when nodes ask.
        away_until: second until which there is no API server.
        away_retry_after: seconds that a load balancer asks for meanwhile; 0 if nobody answers.
        rest: seconds for which labelled nodes are watched; 0 to end when the last one is labelled.
        seed: of all chances.
    """

    nodes: int
    asks: tuple[Verb, ...]
    server: Server
    spread: float = 0.0
    rollout: Rollout | None = None
    publishing: Publishing = field(default_factory=Publishing)
    times: Times = field(default_factory=Times)
    away_until: float = 0.0
    away_retry_after: float = 0.0
    rest: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        asked: when requests were sent, in order; also those that nobody answered.
        answers: how many requests ended how.
        waits: seconds from the start of each node's program to its labels.
        labelled: when each node was labelled.
    """

    asked: tuple[float, ...]
    answers: Mapping[Answer, int]
    waits: tuple[float, ...]
    labelled: tuple[float, ...]

    def peak(self, since: float = 0.0, until: float = float("inf")) -> int:
        """The most requests in one second."""
        return max(Counter(int(at) for at in self.asked if since <= at < until).values(), default=0)

    def count(self, since: float = 0.0, until: float = float("inf")) -> int:
        """Requests in that time."""
        return sum(since <= at < until for at in self.asked)


def percentile(values: tuple[float, ...], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def play(story: Story) -> Outcome:
    """Let it happen."""
    return _Play(story).outcome()


@dataclass(slots=True)
class _Node:
    number: int
    started: float = 0.0
    failures: int = 0
    left: tuple[Verb, ...] = ()
    attempted: float = 0.0
    labelled: float | None = None


class _Play:
    """Events in order of time; each may make others."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._random = random.Random(story.seed)  # noqa: S311  # a simulation, not a secret
        self._nodes = [_Node(number) for number in range(story.nodes)]
        self._unlabelled = story.nodes
        self._server = ApiServer(story.server)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self._asked: list[float] = []
        self._answers: Counter[Answer] = Counter()
        self._to_start = iter(self._nodes)

    def outcome(self) -> Outcome:
        self._begin()
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            if not self._unlabelled and now > self._story.rest:
                break
            happen(now)
        return Outcome(
            tuple(self._asked),
            dict(self._answers),
            tuple(node.labelled - node.started for node in self._nodes if node.labelled is not None),
            tuple(node.labelled for node in self._nodes if node.labelled is not None),
        )

    def _at(self, when: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), happen))

    # -- pods -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        rollout = self._story.rollout
        for _ in range(self._story.nodes if rollout is None else rollout.unavailable):
            self._start_one(self._random.random() * self._story.spread if rollout is None else self._restarted(0.0))

    def _restarted(self, now: float) -> float:
        rollout = self._story.rollout
        assert rollout is not None
        return now + self._random.uniform(rollout.fastest, rollout.slowest)

    def _start_one(self, when: float) -> None:
        node = next(self._to_start, None)
        if node is None:
            return
        node.started = when
        if not self._story.asks:
            self._at(when, lambda now: self._label(node, now))
            return
        jitter = self._story.times.start_jitter * self._random.random()
        self._at(turn_from(when, when + jitter), lambda now: self._attempt(node, now))

    def _label(self, node: _Node, now: float) -> None:
        node.labelled = now
        self._unlabelled -= 1
        if self._story.rollout is not None:
            ready = now + self._random.random() * self._story.rollout.probe_period
            self._at(ready, lambda then: self._start_one(self._restarted(then)))

    # -- publications ---------------------------------------------------------------------------------------------

    def _attempt(self, node: _Node, now: float) -> None:
        node.attempted = now
        node.left = self._story.asks if node.labelled is None else (Verb.READ,)
        self._at(now + self._story.publishing.child, lambda then: self._ask(node, then))

    def _ask(self, node: _Node, now: float) -> None:
        self._asked.append(now)
        if now < self._story.away_until:
            self._fail(node, now, Answer.AWAY, self._story.away_retry_after)
            return
        deadline = node.attempted + self._story.publishing.child + API_TIMEOUT
        request = Request(node.number, node.left[0], deadline)
        try:
            seconds = self._server.takes(request)
        except FullError:
            self._fail(node, now, Answer.THROTTLED, self._story.server.retry_after)
            return
        if seconds is not None:
            self._at(now + seconds, lambda then: self._finish(request, then))

    def _finish(self, request: Request, now: float) -> None:
        self._next(now)
        self._answers[Answer.DONE] += 1
        node = self._nodes[request.node]
        node.left = node.left[1:]
        if node.left:
            self._ask(node, now)
        else:
            self._succeed(node, now)

    def _next(self, now: float) -> None:
        """Somebody who waits takes the seat that is free now."""
        seated, given_up = self._server.leaves(now)
        for each in given_up:
            self._fail(self._nodes[each.node], now, Answer.TIMEOUT, 0.0)
        if seated is not None:
            request, seconds = seated
            self._at(now + seconds, lambda then: self._finish(request, then))

    def _succeed(self, node: _Node, now: float) -> None:
        node.failures = 0
        if node.labelled is None:
            self._label(node, now)
        if self._story.rest:
            due = node.attempted + self._story.times.trusted(self._random.random())
            self._at(self._story.times.recheck(node.started, due), lambda then: self._attempt(node, then))

    def _fail(self, node: _Node, now: float, answer: Answer, asked_for: float) -> None:
        self._answers[answer] += 1
        node.failures += 1
        wait = self._story.times.pause(node.failures, asked_for, self._random.random())
        self._at(turn_from(node.started, now + wait), lambda then: self._attempt(node, then))
