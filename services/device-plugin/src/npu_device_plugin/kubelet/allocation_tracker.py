"""Asks the kubelet who holds what, and reads its checkpoint.

What both say is joined, and so decided, by :mod:`npu_core.allocations`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable

from npu_core.allocations import Allocations, Sources
from npu_core.arch import Arch
from npu_core.checkpoint import checkpoint_stamp, read_checkpoint
from npu_core.claims import KnownCard
from npu_core.errors import FormatError
from npu_core.kubelet import PodResourcesError, list_pods
from npu_core.partition import Unit, UnitId
from npu_core.service.logs import EventLog, without_numbers
from npu_device_plugin.counters import Counters
from npu_device_plugin.events import Event

_log = EventLog(__name__)
_DEADLINE = 2.0
"""Seconds for the kubelet to answer."""
_MAX_TOLD = 20
"""Largest number of ids that get a log line of their own at a time."""
_FAST_TIMEOUT = 0.1
"""Seconds that a round waits for the answer of a kubelet that let the last question go unanswered."""
REFRESH_INTERVAL = 10.0
"""Seconds between two list messages that are sent only to have the checkpoint written again."""
_MIN_REFRESH_INTERVAL = 2.0
"""The same while pods come and go and something waits for what they leave."""
_MAX_REFRESH_INTERVAL = 320.0
"""The same where nothing waits for the answer: each writing costs the node's disk a little."""


class AllocationTracker:
    """Keeps what is known of who holds what.

    Attributes:
        sources: what each source said last.
        resources: the name of each family's resource.
        deadline: seconds for the kubelet to answer.
    """

    def __init__(
        self,
        socket: str,
        plugin_dir: str,
        clock: Callable[[], float],
        telemetry: Counters,
        node_name: str | None = None,
    ) -> None:
        """A tracker that knows nothing yet.

        Args:
            socket: where the kubelet is asked.
            plugin_dir: where the kubelet has its checkpoint.
            clock: seconds, monotonic.
            telemetry: where questions that failed are counted.
            node_name: the node's name, which tells static pods; None if it is not known.
        """
        self._node_name = node_name
        self.sources = Sources()
        self.deadline = _DEADLINE
        self.resources: dict[Arch, str] = {}
        self._socket = socket
        self._plugin_dir = plugin_dir
        self._clock = clock
        self._telemetry = telemetry
        self._complaint = ""
        self._checkpoint_complaint = ""
        self._asking: asyncio.Task[None] | None = None
        self._is_slow = False
        self._unmapped: frozenset[tuple[str, str]] = frozenset()
        self._refreshed = -_MAX_REFRESH_INTERVAL
        self._refresh_interval = REFRESH_INTERVAL
        self._unconfirmed: object = None
        self._last_join: tuple[object, Allocations] | None = None

    def granted(self, arch: Arch, units: Iterable[Unit]) -> None:
        """Units are given out just now: no source can name them yet."""
        held = [UnitId(unit.device.index, unit.cores) for unit in units]
        self.sources = self.sources.with_grant(arch, held, checkpoint_stamp(self._plugin_dir))

    def allocations(self, cards: Collection[KnownCard]) -> Allocations:
        """Who may hold what of these cards; worked out anew only if something it depends on changed."""
        depends_on = (self.sources, tuple(cards), dict(self.resources))
        if self._last_join is None or self._last_join[0] != depends_on:
            self._last_join = depends_on, self.sources.joined(cards, self.resources)
            self._report_unmapped(frozenset(self._last_join[1].unmapped))
        return self._last_join[1]

    # -- the checkpoint -------------------------------------------------------------------------------------------

    def look(self, *, is_written: bool = False) -> None:
        """Read the kubelet's checkpoint if it is another one than before.

        Args:
            is_written: whether a kubelet has taken a list message, and so has written the file: if there is none, then
                somebody removed it, and it does not mean that nothing is held.
        """
        stamp = checkpoint_stamp(self._plugin_dir)
        if self.sources.is_recorded and stamp == self.sources.stamp and stamp is not None:
            return
        try:
            checkpoint = read_checkpoint(self._plugin_dir)
        except FormatError as error:
            self._without_checkpoint(str(error))
            return
        if checkpoint.stamp is None and is_written:
            self._without_checkpoint(f"no file in {self._plugin_dir}, although the kubelet has written one")
            return
        if self._checkpoint_complaint:
            _log.info(Event.CHECKPOINT_READABLE)
        self._checkpoint_complaint = ""
        self.sources = self.sources.with_checkpoint(checkpoint.claims, checkpoint.stamp, self.resources)

    def _without_checkpoint(self, complaint: str) -> None:
        if without_numbers(complaint) != without_numbers(self._checkpoint_complaint):
            _log.warning(Event.CANNOT_READ_CHECKPOINT, reason=complaint)
        self._checkpoint_complaint = complaint
        self.sources = self.sources.without_checkpoint()

    @property
    def checkpoint_complaint(self) -> str:
        """Why the checkpoint could not be read the last time; empty if it could."""
        return self._checkpoint_complaint

    def needs_refresh(self, *, something_waits: bool) -> bool:
        """Whether the kubelet should be made to write its checkpoint again, by a list message.

        The kubelet forgets pods that ended when it is asked for its pods, and writes that down at the next list
        message. Until then the file names them.

        Args:
            something_waits: whether a decision depends on what the file will name.
        """
        sources = self.sources
        unconfirmed = sources.unconfirmed(self.resources) if sources.is_listed else frozenset()
        doubtful = (unconfirmed, frozenset(sources.grants))
        if sources.is_recorded and not any(doubtful):
            self._unconfirmed = None
            return False
        now = self._clock()
        is_news = doubtful != self._unconfirmed
        if is_news:
            self._refresh_interval = REFRESH_INTERVAL
        interval = REFRESH_INTERVAL if something_waits else self._refresh_interval
        if now - self._refreshed < (_MIN_REFRESH_INTERVAL if is_news and something_waits else interval):
            return False
        if not is_news:
            self._refresh_interval = min(2 * self._refresh_interval, _MAX_REFRESH_INTERVAL)
        self._unconfirmed, self._refreshed = doubtful, now
        return True

    # -- the kubelet ----------------------------------------------------------------------------------------------

    async def ask(self) -> None:
        """Ask once. If the kubelet cannot be asked, what was known stays; that is logged once.

        A kubelet that did not answer in time is not waited for again: dead cards would be told late. What it says
        counts when it says it.
        """
        asking = self._asking or asyncio.create_task(self._ask(), name="asking who holds what")
        done, _ = await asyncio.wait({asking}, timeout=_FAST_TIMEOUT if self._is_slow else None)
        self._asking = None if done else asking
        for each in done:
            each.result()

    async def _ask(self) -> None:
        try:
            listing = await list_pods(self._socket, self.deadline)
        except PodResourcesError as error:
            self._is_slow = error.code == "DEADLINE_EXCEEDED"
            self._telemetry.holdings_errors[error.code] += 1
            self._complain(error.code, str(error))
            self.sources = self.sources.without_listing()
            return
        self._is_slow = False
        self._complain("", "")
        self.sources = self.sources.with_listing(listing.claims, knows_pods=listing.knows_pods(self._node_name))

    # -- the log --------------------------------------------------------------------------------------------------

    def _complain(self, code: str, detail: str) -> None:
        if code and code != self._complaint:
            _log.warning(Event.CANNOT_ASK_KUBELET, reason=detail)
        elif self._complaint and not code:
            _log.info(Event.KUBELET_ANSWERS)
        self._complaint = code

    def _report_unmapped(self, unmapped: frozenset[tuple[str, str]]) -> None:
        new = sorted(unmapped - self._unmapped)
        for resource, device_id in new[:_MAX_TOLD]:
            _log.warning(Event.UNMAPPED_DEVICE, resource=resource, id=device_id)
        if len(new) > _MAX_TOLD:
            _log.warning(Event.MORE_UNMAPPED_DEVICES, count=len(new) - _MAX_TOLD)
        self._unmapped = unmapped
