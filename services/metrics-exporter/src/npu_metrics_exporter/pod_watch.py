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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from npu_core.allocations import Sources
from npu_core.checkpoint import Checkpoint, FileStamp, checkpoint_stamp, read_checkpoint
from npu_core.claims import KnownCard
from npu_core.device import CardKey
from npu_core.errors import ExhaustedError, FormatError
from npu_core.os_errors import explain
from npu_core.service.logs import EventLog, without_numbers
from npu_core.threads import NO_THREAD
from npu_metrics_exporter.counters import NO_SOCKET, UNFORESEEN
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.metrics.pod_names import PodName, holders_of, pods_in, pods_shown
from npu_metrics_exporter.metrics.podmap import PodMap, may_be_npu, npus_of
from npu_metrics_exporter.settings import Settings

if TYPE_CHECKING:
    from npu_core.kubelet import PodListing

T = TypeVar("T")

_log = EventLog(__name__)
_CLIENT = "npu_core.kubelet"
_DEADLINE = 10.0
"""Seconds for the kubelet to answer. Nobody waits, and a slow answer is better than none."""
_JITTER = 0.1
"""How much of an interval, at most, a question comes earlier or later than it, so that nodes do not ask in step."""


@dataclass(frozen=True, slots=True)
class Kubelet:
    """The kubelet of this node: where it is asked, and where its files are.

    Attributes:
        socket: of PodResources; it need not exist yet.
        plugin_dir: the device-plugin directory, with the checkpoint.
        pod_logs_dir: the directory with a directory for each pod.
        node_name: the node's name, which tells static pods; None if it is not known.
    """

    socket: str = "/var/lib/kubelet/pod-resources/kubelet.sock"
    plugin_dir: str = "/var/lib/kubelet/device-plugins"
    pod_logs_dir: str = "/var/log/pods"
    node_name: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The kubelet that the settings name."""
        return cls(settings.pod_resources_socket, settings.plugin_dir, settings.pod_logs_dir, settings.node_name)


@dataclass(slots=True)
class PodCounts:
    """What happened to the questions.

    Attributes:
        is_answered: whether the last one was answered.
        errors: questions that failed, by code: one of :data:`~npu_metrics_exporter.counters.QUESTION_FAILURES`.
        conflicts: how often a card came to have a core that two pods hold.
        unconfirmed: pods that only an earlier answer or the checkpoint names.
        unnamed: containers with NPUs of pods whose name is not known.
        unmapped: device ids of NPUs that are held and are no card known here.
    """

    is_answered: bool = False
    errors: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    unconfirmed: int = 0
    unnamed: int = 0
    unmapped: int = 0

    @property
    def up(self) -> bool:
        """Whether the kubelet's last answer confirmed every holder that the metrics name."""
        return self.is_answered and not self.unconfirmed


@dataclass(slots=True)
class PodTimes:
    """When the kubelet is asked, in seconds. May be changed while the watch runs.

    Attributes:
        interval: between two questions.
        ttl: for which an answer stands if no later question is answered.
        deadline: for the kubelet to answer.
    """

    interval: float = 10.0
    ttl: float = 60.0
    deadline: float = _DEADLINE

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
    """Keeps what the kubelet said last, and what its checkpoint names.

    Attributes:
        counts: of the questions.
        times: when it asks.
    """

    def __init__(
        self,
        kubelet: Kubelet | None = None,
        times: PodTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A watch that has not asked yet.

        Args:
            kubelet: where the kubelet is.
            times: see :attr:`times`.
            clock: seconds that do not go back.
        """
        self.counts = PodCounts()
        self.times = times or PodTimes()
        self._kubelet = kubelet or Kubelet()
        self._clock = clock
        self._sources = Sources()
        self._pods: frozenset[PodName] = frozenset()
        self._names: dict[str, PodName] = {}
        self._listed_at = self._recorded_at = -math.inf
        self._failures = 0
        self._complaint = ""
        self._file_complaints = {"checkpoint": "", "names": ""}
        self._conflicted: frozenset[CardKey] = frozenset()
        self._suspected: dict[CardKey, int] = {}
        self._answers = 0
        self._unmapped: frozenset[tuple[str, str]] = frozenset()
        self._unnamed: frozenset[tuple[str, str]] = frozenset()

    @property
    def has_answer(self) -> bool:
        """Whether any source has said who holds what by now."""
        return self._sources.listed is not None or self._sources.is_recorded

    async def run(self) -> None:
        """Ask at once, and again and again until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(self.times.wait(self._failures, _chance()))

    async def ask(self) -> None:
        """Ask once. Whatever becomes of it, what was known stays for its time. Never raises."""
        try:
            await self._ask()
        except ExhaustedError as error:
            self._fail(NO_THREAD, str(error))
        except Exception as error:  # noqa: BLE001  # whatever it is, the next question may do better
            reason = without_numbers(repr(error))
            if reason != self._complaint:
                _log.exception(Event.QUESTION_FAILED, error)
            self._fail(UNFORESEEN, reason)

    def map(self, cards: Collection[KnownCard]) -> PodMap:
        """Who owns these cards, as far as it is known now.

        Takes what is news in it for :attr:`counts` and the log.
        """
        holders = holders_of(npus_of(self._standing().claims, cards), self._names, self._pods)
        pods = PodMap.of((*holders.claims, *holders.unnamed), cards)
        unnamed = {(claim.pod_uid, claim.container_name): claim for claim in holders.unnamed}
        for name in sorted(unnamed.keys() - self._unnamed):
            fields = {"uid": name[0], "container": name[1], "id": unnamed[name].device_id}
            _log.warning(Event.HOLDER_UNNAMED, **fields)
        conflicts = self._confirmed(pods.conflicts)
        for arch, index in sorted(conflicts - self._conflicted):
            _log.warning(Event.HOLDERS_CONFLICT, family=arch, card=f"npu{index}")
        for resource, text in sorted(pods.unmapped - self._unmapped):
            _log.warning(Event.DEVICE_UNKNOWN, resource=resource, id=text)
        self.counts.conflicts += len(conflicts - self._conflicted)
        self.counts.unmapped, self.counts.unnamed = len(pods.unmapped), len(unnamed)
        self.counts.unconfirmed = len(holders.unconfirmed)
        self._conflicted, self._unmapped, self._unnamed = conflicts, pods.unmapped, frozenset(unnamed)
        return pods

    def _confirmed(self, conflicts: frozenset[CardKey]) -> frozenset[CardKey]:
        """The conflicts that an earlier answer showed too: a card may change hands between listing and checkpoint."""
        self._suspected = {card: self._suspected.get(card, self._answers) for card in conflicts}
        return frozenset(card for card, answer in self._suspected.items() if answer < self._answers)

    def _standing(self) -> Sources:
        """What stands: the listing for its time, and the checkpoint for as long as it can be read."""
        sources, oldest = self._sources, self._clock() - self.times.stands
        if self._listed_at < oldest:
            sources = replace(sources, listed=None, is_listed=False)
        if not sources.is_recorded and self._recorded_at < oldest:
            sources = replace(sources, recorded=())
        return sources

    # -- the kubelet's files --------------------------------------------------------------------------------------

    def _read_checkpoint(self) -> Checkpoint | FormatError:
        """The checkpoint, without what is no NPU's. Blocks."""
        try:
            checkpoint = read_checkpoint(self._kubelet.plugin_dir)
        except FormatError as error:
            return error
        if checkpoint.stamp is None:
            return FormatError(self._kubelet.plugin_dir, "a directory with the kubelet's checkpoint (no such file)")
        return replace(checkpoint, claims=tuple(filter(may_be_npu, checkpoint.claims)))

    def _read_pod_names(self) -> dict[str, PodName] | OSError:
        """The pods of the log directory. Blocks."""
        try:
            return pods_in(os.listdir(self._kubelet.pod_logs_dir))  # noqa: PTH208  # pathlib is not otherwise loaded
        except OSError as error:
            return error

    async def _look_at_files(self) -> None:
        """Read the checkpoint, and the names of pods that it names and that are not known yet."""
        checkpoint = await _on_thread(self._read_checkpoint)
        if isinstance(checkpoint, FormatError):
            if self._is_news("checkpoint", str(checkpoint)):
                _log.warning(Event.CHECKPOINT_UNREADABLE, reason=checkpoint)
            self._sources = self._sources.without_checkpoint()
            return
        if self._is_news("checkpoint", ""):
            _log.info(Event.CHECKPOINT_READABLE)
        self._sources = self._sources.with_checkpoint(checkpoint.claims, checkpoint.stamp, {})
        self._recorded_at = self._clock()

    async def _look_for_names(self, shown: dict[str, PodName]) -> None:
        uids = {claim.pod_uid for claim in self._sources.recorded}
        names = {uid: name for uid, name in self._names.items() if uid in uids}
        if uids - names.keys():
            found = await _on_thread(self._read_pod_names)
            if isinstance(found, OSError):
                reason = explain(found, self._kubelet.pod_logs_dir, setting="--pod-logs-dir")
                if self._is_news("names", reason):
                    _log.warning(Event.POD_LOGS_UNREADABLE, reason=reason)
                found = {}
            elif self._is_news("names", ""):
                _log.info(Event.POD_LOGS_READABLE)
            names = {**shown, **found, **names}
        self._names = {uid: name for uid, name in names.items() if uid in uids}

    # -- the kubelet ----------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        # An answer shows names only if it is of one writing of the checkpoint: see pods_shown().
        stamp = checkpoint_stamp(self._kubelet.plugin_dir)
        listing = await self._question()
        await self._look_at_files()
        shown: dict[str, PodName] = {}
        if listing is not None:
            self._take(listing)
            shown = self._shown(stamp)
        await self._look_for_names(shown)

    def _shown(self, stamp: FileStamp | None) -> dict[str, PodName]:
        sources = self._sources
        if not sources.is_recorded or sources.stamp != stamp:
            return {}
        return pods_shown(sources.recorded, sources.listed or ())

    async def _question(self) -> "PodListing | None":
        """What the kubelet lists: NPUs with their containers, and all pods. None if it could not be asked."""
        if not _is_socket(self._kubelet.socket):
            self._failures = 0  # looking for a socket costs nobody anything
            self._fail(NO_SOCKET, no_socket(self._kubelet.socket))
            return None
        # gRPC, loaded with the first question that can be asked; not on the loop, where scrapes would wait for it.
        if _CLIENT not in sys.modules:
            await _on_thread(partial(importlib.import_module, _CLIENT))
        from npu_core.kubelet import PodResourcesError, list_pods  # noqa: PLC0415

        try:
            listing = await list_pods(self._kubelet.socket, self.times.deadline)
        except PodResourcesError as error:
            self._fail(error.code, str(error))
            return None
        return replace(listing, claims=tuple(filter(may_be_npu, listing.claims)))

    def _take(self, listing: "PodListing") -> None:
        """An answer. That of a kubelet that does not know its pods yet takes nothing away."""
        self._answers += 1
        self._pods = listing.pods
        knows_pods = listing.knows_pods(self._kubelet.node_name)
        if knows_pods or self._sources.is_recorded or self._sources.listed is None:
            self._sources = self._sources.with_listing(listing.claims, knows_pods=knows_pods)
            self._listed_at = self._clock()
        self._failures = 0
        self.counts.is_answered = True
        if self._complaint:
            _log.info(Event.KUBELET_TELLS)
        self._complaint = ""

    def _fail(self, code: str, detail: str) -> None:
        self._failures += code != NO_SOCKET
        self._sources = self._sources.without_listing()
        self.counts.is_answered = False
        self.counts.errors[code] += 1
        complaint = detail if code == UNFORESEEN else code
        if complaint != self._complaint:
            _log.warning(Event.KUBELET_SILENT, code=code, reason=detail)
        self._complaint = complaint

    def _is_news(self, source: str, reason: str) -> bool:
        """Whether a file of the kubelet cannot be read for another reason than the last time; empty if it can be."""
        before, now = self._file_complaints[source], without_numbers(reason)
        self._file_complaints[source] = now
        return before != now


async def _on_thread(work: Callable[[], T]) -> T:
    """Do work that may block on a thread, so that no scrape waits for the work.

    Raises:
        ExhaustedError: if the system refuses the thread.
    """
    try:
        return await asyncio.to_thread(work)
    except RuntimeError as error:  # the work itself raises no RuntimeError
        raise ExhaustedError(f"no thread to ask with: {error}") from error


def no_socket(path: str) -> str:
    """Why there is no socket, for an operator."""
    try:
        os.stat(path)  # noqa: PTH116  # as below
    except OSError as error:
        return f"no socket: {explain(error, path, setting='--pod-resources-socket')}"
    return f"no socket: {path} (--pod-resources-socket) is a file of another kind"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116  # pathlib is not otherwise loaded in the daemon
    except OSError:
        return False


def _chance() -> float:
    """Anything from 0 to 1. Not by the module ``random``, which would load a large library for hashes."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF
