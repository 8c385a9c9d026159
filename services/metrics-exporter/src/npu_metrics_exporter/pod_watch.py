"""Asking the kubelet, on a timer of its own, which containers hold which devices. No scrape ever waits for it."""

import asyncio
import importlib
import math
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from npu_core.device import CardKey
from npu_core.service.logs import EventLog
from npu_metrics_exporter.podmap import RESOURCE_PREFIX, Held, PodMap

_log = EventLog(__name__)
NO_SOCKET = "NO_SOCKET"
"""Code of a question that could not be asked because the kubelet has no socket."""
UNFORESEEN = "UNFORESEEN"
"""Code of a question that failed as none should. All other codes are gRPC's."""
_CLIENT = "npu_core.kubelet"
_DEADLINE = 10.0
"""Seconds for the kubelet to answer. Nobody waits, and a slow answer is better than none."""
_YOUTH = 3.0
"""Seconds from a kubelet's start in which it may not have heard of all its pods."""
_JITTER = 0.1
"""How much of an interval, at most, a question comes earlier or later than it, so that nodes do not ask in step."""


@dataclass(slots=True)
class PodCounts:
    """What happened to the questions.

    Attributes:
        up: whether the last one was answered.
        errors: questions that failed, by code: :data:`NO_SOCKET`, :data:`UNFORESEEN` or gRPC's name of a status.
        conflicts: how often a card came to have a core that two containers hold.
    """

    up: bool = False
    errors: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0


@dataclass(slots=True)
class PodTimes:
    """When the kubelet is asked, in seconds. May be changed while the watch runs.

    Attributes:
        interval: between two questions.
        ttl: for which an answer stands if no later question is answered.
        deadline: for the kubelet to answer.
        youth: from the kubelet's start in which what it does not list may still be held.
    """

    interval: float = 10.0
    ttl: float = 60.0
    deadline: float = _DEADLINE
    youth: float = _YOUTH

    @property
    def stands(self) -> float:
        """Seconds for which an answer stands: two intervals at least, so that none runs out before the next comes."""
        return max(self.ttl, 2 * self.interval)

    def wait(self, failures: int, chance: float) -> float:
        """Seconds to the next question: more after each failure, but so that an answer does not run out meanwhile.

        Args:
            failures: questions in a row that the kubelet did not answer.
            chance: from 0 to 1, for the jitter.
        """
        most = max(self.interval, self.ttl / 2)
        doublings = min(max(failures - 1, 0), 10)
        return min(self.interval * (1 << doublings), most) * (1 + _JITTER * (2 * chance - 1))


class PodWatch:
    """Keeps what the kubelet said last.

    Attributes:
        counts: of the questions.
        times: when it asks.
        prefix: what the resources of NPUs begin with.
    """

    def __init__(
        self,
        socket: str,
        prefix: str = RESOURCE_PREFIX,
        times: PodTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A watch that has not asked yet.

        Args:
            socket: the kubelet's PodResources socket; it need not exist yet.
            prefix: see :attr:`prefix`.
            times: see :attr:`times`.
            clock: seconds that do not go back.
        """
        self.counts = PodCounts()
        self.times = times or PodTimes()
        self.prefix = prefix
        self._socket = socket
        self._clock = clock
        self._held: tuple[Held, ...] = ()
        self._answered = -math.inf
        self._failures = 0
        self._complaint = ""
        self._conflicted: frozenset[CardKey] = frozenset()
        self._unknown: frozenset[tuple[str, str]] = frozenset()

    async def run(self) -> None:
        """Ask at once, and again and again until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(self.times.wait(self._failures, _chance()))

    async def ask(self) -> None:
        """Ask once. Whatever becomes of it, what was known stays for its time. Never raises."""
        try:
            await self._ask()
        except Exception as error:  # noqa: BLE001  # whatever it is, the next question may do better
            if repr(error) != self._complaint:
                _log.exception("a question to the kubelet failed as none should", error)
            self._fail(UNFORESEEN, repr(error))

    def map(self, cards: Collection[CardKey]) -> PodMap:
        """Who owns these cards, as of the last answer; nobody, if that is older than it may be.

        Takes what is news in it for :attr:`counts` and the log.
        """
        pods = PodMap.of(self._standing(), cards, self.prefix)
        conflicts = pods.conflicts
        for arch, index in sorted(conflicts - self._conflicted):
            _log.warning("two containers hold the same cores, says the kubelet", family=arch, device=f"npu{index}")
        for resource, text in sorted(pods.unknown - self._unknown):
            _log.warning("a container holds a device that is none of our units", resource=resource, id=text)
        self.counts.conflicts += len(conflicts - self._conflicted)
        self._conflicted, self._unknown = conflicts, pods.unknown
        return pods

    def _standing(self) -> tuple[Held, ...]:
        return self._held if self._clock() - self._answered <= self.times.stands else ()

    async def _ask(self) -> None:
        age = _age(self._socket)
        if age is None:
            self._failures = 0  # looking for a socket costs nobody anything
            self._fail(NO_SOCKET, f"no socket at {self._socket}")
            return
        # gRPC, loaded with the first question that can be asked; not on the loop, where scrapes would wait for it.
        if _CLIENT not in sys.modules:
            await asyncio.to_thread(importlib.import_module, _CLIENT)
        from npu_core.kubelet import PodResourcesError, list_holdings  # noqa: PLC0415

        try:
            holdings = await list_holdings(self._socket, self.times.deadline)
        except PodResourcesError as error:
            self._fail(error.code, str(error))
            return
        held = tuple(each for each in holdings if each.resource.startswith(self.prefix))
        self._take(held, young=age < self.times.youth)

    def _take(self, held: tuple[Held, ...], *, young: bool) -> None:
        """An answer. That of a kubelet that has just started only adds to what was known."""
        if young:
            held = tuple(dict.fromkeys((*held, *self._standing())))
        self._held, self._answered = held, self._clock()
        self._failures = 0
        self.counts.up = True
        if self._complaint:
            _log.info("the kubelet tells who holds what")
        self._complaint = ""

    def _fail(self, code: str, detail: str) -> None:
        self._failures += code != NO_SOCKET
        self.counts.up = False
        self.counts.errors[code] += 1
        complaint = detail if code == UNFORESEEN else code
        if complaint != self._complaint:
            _log.warning("cannot ask the kubelet who holds what", code=code, reason=detail)
        self._complaint = complaint


def _age(socket: str) -> float | None:
    """Seconds since the kubelet began to serve at the socket; None if there is none."""
    try:
        found = os.stat(socket)  # noqa: PTH116  # pathlib is not otherwise loaded in the daemon
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    # A clock that was set back tells nothing.
    return age if (age := time.time() - found.st_ctime) >= 0 else math.inf


def _chance() -> float:
    """Anything from 0 to 1. Not by the module ``random``, which would load a large library for hashes."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF
