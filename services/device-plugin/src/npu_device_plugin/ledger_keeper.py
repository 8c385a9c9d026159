"""Keeping the ledger: what the kubelet says containers hold, and what it was given since."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator

from npu_core.arch import Arch
from npu_core.errors import FormatError
from npu_core.kubelet import PodResourcesError, list_holdings
from npu_core.partition import Unit, UnitId
from npu_core.service.logs import EventLog
from npu_device_plugin.checkpoint import HeldIds, read_checkpoint
from npu_device_plugin.cutting import HeldUnits, Ledger
from npu_device_plugin.telemetry import Telemetry

_log = EventLog(__name__)
_DEADLINE = 2.0
"""Seconds for the kubelet to answer."""
_YOUTH = 3.0
"""Seconds from a kubelet's start in which it may not have heard of all its pods."""
_IMPATIENCE = 0.1
"""Seconds that a round waits for the answer of a kubelet that let the last question go unanswered."""


class LedgerKeeper:
    """Asks the kubelet who holds what.

    Attributes:
        ledger: what is known now.
        resources: the name of each family's resource.
        held_ids: what the kubelet listed when it was last asked, of any resource; what its checkpoint says, if it never
            answered; None if that could not be read either.
        deadline: seconds for the kubelet to answer.
        youth: seconds from a kubelet's start in which what it does not list may still be held.
    """

    def __init__(self, socket: str, plugin_dir: str, clock: Callable[[], float], telemetry: Telemetry) -> None:
        """A keeper that knows nothing yet.

        Args:
            socket: where the kubelet is asked.
            plugin_dir: where the kubelet has its checkpoint.
            clock: seconds, monotonic.
            telemetry: where questions that failed are counted.
        """
        self.ledger = Ledger()
        self.deadline = _DEADLINE
        self.youth = _YOUTH
        self.resources: dict[Arch, str] = {}
        self.held_ids: HeldIds | None = None
        self._socket = socket
        self._plugin_dir = plugin_dir
        self._clock = clock
        self._telemetry = telemetry
        self._complaint = ""
        self._checkpoint_complaint = ""
        self._asking: asyncio.Task[None] | None = None
        self._is_slow = False

    @property
    def in_the_dark(self) -> bool:
        """Whether there are resources of which the kubelet never told who holds them: cards may be cut wrongly."""
        return len(self.ledger.listed) < len(self.resources)

    def granted(self, arch: Arch, units: Iterable[Unit]) -> None:
        """Units were given out just now; the kubelet may not list them yet."""
        held = [UnitId(unit.device.index, unit.cores) for unit in units]
        self.ledger = self.ledger.with_grant(arch, held, self._clock())

    async def ask(self) -> None:
        """Ask once. If the kubelet cannot be asked, what was known stays; that is told once.

        A kubelet that did not answer in time is not waited for again: dead cards would be told late. What it says
        counts when it says it.
        """
        asking = self._asking or asyncio.create_task(self._ask(), name="asking who holds what")
        done, _ = await asyncio.wait({asking}, timeout=_IMPATIENCE if self._is_slow else None)
        self._asking = None if done else asking
        for each in done:
            each.result()

    async def _ask(self) -> None:
        asked = self._clock()
        try:
            holdings = await list_holdings(self._socket, self.deadline)
        except PodResourcesError as error:
            self._is_slow = error.code == "DEADLINE_EXCEEDED"
            self._telemetry.holdings_errors[error.code] += 1
            self._complain(error.code, str(error))
            self._consult_checkpoint()
            return
        self._is_slow = False
        self._complain("", "")
        held = tuple((each.resource, unit) for each in holdings for unit in each.device_ids)
        if _age(self._socket) < self.youth:
            self._consult_checkpoint()
            self.held_ids = tuple(dict.fromkeys((*held, *(self.held_ids or ()))))
            self.ledger = self.ledger.with_partial_listing(self._by_family(held))
        else:
            self.held_ids = held
            self.ledger = self.ledger.with_listing(self._by_family(held), asked)

    def _consult_checkpoint(self) -> None:
        """Let the kubelet's checkpoint say what was held before us, as long as the kubelet itself never did."""
        if self.held_ids is None:
            try:
                self.held_ids = read_checkpoint(self._plugin_dir)
            except FormatError as error:
                self._complain_of_checkpoint(str(error))
                return
        self.ledger = self.ledger.with_record(self._by_family(self.held_ids))

    def _complain_of_checkpoint(self, complaint: str) -> None:
        if complaint != self._checkpoint_complaint:
            _log.warning("cannot read the kubelet's checkpoint, cards are cut as the settings say", reason=complaint)
        self._checkpoint_complaint = complaint

    def _by_family(self, held: HeldIds) -> HeldUnits:
        return tuple((arch, frozenset(_units(held, resource))) for arch, resource in self.resources.items())

    def _complain(self, code: str, detail: str) -> None:
        if code and code != self._complaint:
            _log.warning("cannot ask the kubelet who holds what", reason=detail)
        elif self._complaint and not code:
            _log.info("the kubelet tells who holds what")
        self._complaint = code


def _age(socket: str) -> float:
    """Seconds since the kubelet began to serve at the socket."""
    try:
        began = os.stat(socket).st_ctime  # noqa: PTH116  # pathlib is not otherwise loaded in the daemon
    except OSError:
        return 0.0  # it went away again since it answered
    # A clock that was set back tells nothing.
    return age if (age := time.time() - began) >= 0 else math.inf


def _units(held: HeldIds, resource: str) -> Iterator[UnitId]:
    for owner, text in held:
        if owner != resource:
            continue
        try:
            yield UnitId.parse(text)
        except FormatError:
            # Of a plugin that had the resource's name before us; no unit of ours is called so.
            _log.debug("unknown id held", id=text)
