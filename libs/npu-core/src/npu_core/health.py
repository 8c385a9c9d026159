"""Is a card fit for work? A three-valued judgement, and the memory that keeps it from flapping.

A dead or absent card is unhealthy at once. A card that hangs gives no answer, and a read without an answer is a
:class:`~npu_core.errors.StuckError` (:mod:`npu_core.service.device_threads`): that is "cannot tell", not dead.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from npu_core.document import Value
from npu_core.errors import HostError, Reason


class HealthStatus(StrEnum):
    """What one look, or all looks together, say of a card."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HealthReport(Value):
    """The judgement of one look.

    Attributes:
        status: the worst that was seen: dead or absent over unreadable over fit.
        reasons: sentences for the operator; empty exactly if the card is healthy.
        asked: False if this process had nothing left to ask the card with. Such a look changes nothing.
    """

    status: HealthStatus
    reasons: tuple[str, ...] = ()
    asked: bool = True


HEALTHY = HealthReport(HealthStatus.HEALTHY)
"""Nothing found wrong."""


@dataclass(frozen=True, slots=True)
class Vitals(Value):
    """What one look at a card saw, before any judgement.

    Attributes:
        present: False if the card's management directory is gone.
        alive: what the driver says of it; None where this driver says nothing at all (the attribute does not
            exist); an error where it could not be read.
        missing_files: device files that the card had when it was enumerated and has not now.
    """

    present: bool
    alive: bool | HostError | None
    missing_files: tuple[str, ...] = ()


def judge(vitals: Vitals) -> HealthReport:
    """The verdict on one look: explicit death or absence is unhealthy, "cannot tell" is unknown.

    A driver without the attribute is no evidence against the card. A device that vanished behind its attribute
    (ENODEV) is dead, not unreadable.
    """
    if not vitals.present:
        return HealthReport(HealthStatus.UNHEALTHY, ("the card is gone from /sys",))
    bad = [f"device file {name} is missing" for name in vitals.missing_files]
    match vitals.alive:
        case False:
            bad.append("the driver reports the card as dead")
        case HostError(reason=Reason.GONE) as error:
            bad.append(f"the device is gone: {error.detail}")
        case HostError(reason=Reason.EXHAUSTED) as error if not bad:
            return HealthReport(HealthStatus.UNKNOWN, (f"cannot ask the card: {error.detail}",), asked=False)
        case HostError() as error if not bad:
            return HealthReport(HealthStatus.UNKNOWN, (f"cannot tell whether the card is alive: {error.detail}",))
        case _:
            pass
    return HealthReport(HealthStatus.UNHEALTHY, tuple(bad)) if bad else HEALTHY


@dataclass(frozen=True, slots=True)
class HealthPolicy(Value):
    """How patient the memory is.

    Attributes:
        recovery_looks: consecutive good looks before an unhealthy card counts as healthy again.
        unknown_grace: seconds for which looks that cannot tell leave the status as it was.
    """

    recovery_looks: int = 2
    unknown_grace: float = 30.0


@dataclass(frozen=True, slots=True)
class HealthState(Value):
    """A card's health over time: a state machine without a clock of its own.

    Attributes:
        status: healthy or unhealthy; unknown only before the first look.
        reasons: why it is not healthy, or why it cannot be told at the moment.
        good_looks: consecutive good looks since it was unhealthy.
        unknown_since: time of the first of the looks, up to now, that could not tell; None if the last one could.
    """

    status: HealthStatus = HealthStatus.UNKNOWN
    reasons: tuple[str, ...] = ()
    good_looks: int = 0
    unknown_since: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether work may be given to the card."""
        return self.status is HealthStatus.HEALTHY

    def after(self, report: HealthReport, now: float, policy: HealthPolicy | None = None) -> "HealthState":
        """The state after one more look, made at ``now`` (seconds of any clock that does not go back).

        * A bad look makes the card unhealthy at once.
        * A good look makes a new card healthy at once, an unhealthy one after ``recovery_looks`` of them.
        * A look that cannot tell leaves the status for ``unknown_grace`` seconds, then makes it unhealthy. A card
          that was never told alive is unhealthy until it is.
        * A look with ``asked=False`` changes nothing, however often it happens: the card is not to blame.
        """
        if not report.asked:
            return self
        rules = policy or HealthPolicy()
        match report.status:
            case HealthStatus.UNHEALTHY:
                return HealthState(HealthStatus.UNHEALTHY, report.reasons)
            case HealthStatus.HEALTHY:
                return self._after_good(rules)
            case HealthStatus.UNKNOWN:
                return self._after_unknown(report.reasons, now, rules)

    def _after_good(self, rules: HealthPolicy) -> "HealthState":
        looks = self.good_looks + 1
        if self.status is HealthStatus.UNHEALTHY and looks < rules.recovery_looks:
            return replace(self, good_looks=looks, unknown_since=None)
        return HealthState(HealthStatus.HEALTHY)

    def _after_unknown(self, reasons: tuple[str, ...], now: float, rules: HealthPolicy) -> "HealthState":
        since = now if self.unknown_since is None else self.unknown_since
        if self.is_healthy and now - since < rules.unknown_grace:
            return HealthState(HealthStatus.HEALTHY, reasons, unknown_since=since)
        return HealthState(HealthStatus.UNHEALTHY, reasons, unknown_since=since)
