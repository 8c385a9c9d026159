"""Keeping the ledger: what the kubelet says containers hold, and what it was given since."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from npu_core.arch import Arch
from npu_core.errors import FormatError
from npu_core.kubelet import Holding, PodResourcesError, list_holdings
from npu_core.partition import Unit, UnitId
from npu_core.service.logs import EventLog
from npu_device_plugin.cutting import HeldUnits, Ledger
from npu_device_plugin.telemetry import Telemetry

_log = EventLog(__name__)
_DEADLINE = 2.0
"""Seconds for the kubelet to answer."""
_IMPATIENCE = 0.1
"""Seconds that a round waits for the answer of a kubelet that let the last question go unanswered."""


class LedgerKeeper:
    """Asks the kubelet who holds what.

    Attributes:
        ledger: what is known now.
        resources: the name of each family's resource.
        holdings: what the kubelet listed when it was last asked, of any resource.
        deadline: seconds for the kubelet to answer.
    """

    def __init__(self, socket: str, clock: Callable[[], float], telemetry: Telemetry) -> None:
        """A keeper that knows nothing yet and asks at ``socket``."""
        self.ledger = Ledger()
        self.deadline = _DEADLINE
        self.resources: dict[Arch, str] = {}
        self.holdings: tuple[Holding, ...] = ()
        self._socket = socket
        self._clock = clock
        self._telemetry = telemetry
        self._complaint = ""
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
            self.holdings = await list_holdings(self._socket, self.deadline)
        except PodResourcesError as error:
            self._is_slow = error.code == "DEADLINE_EXCEEDED"
            self._telemetry.holdings_errors[error.code] += 1
            self._complain(error.code, str(error))
            return
        self._is_slow = False
        self._complain("", "")
        self.ledger = self.ledger.with_listing(self._held(), asked)

    def _held(self) -> HeldUnits:
        return tuple((arch, frozenset(_units(self.holdings, resource))) for arch, resource in self.resources.items())

    def _complain(self, code: str, detail: str) -> None:
        if code and code != self._complaint:
            _log.warning("cannot ask the kubelet who holds what", reason=detail)
        elif self._complaint and not code:
            _log.info("the kubelet tells who holds what")
        self._complaint = code


def _units(holdings: Iterable[Holding], resource: str) -> Iterator[UnitId]:
    for holding in holdings:
        for text in holding.device_ids if holding.resource == resource else ():
            try:
                yield UnitId.parse(text)
            except FormatError:
                # Of a plugin that had the resource's name before us; no unit of ours is called so.
                _log.debug("unknown id held", id=text)
