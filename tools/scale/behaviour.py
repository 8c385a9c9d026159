"""When a node's feature discovery asks the API server: the product's own times and functions (pure)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from npu_feature_discovery.back_off import BackOff
from npu_feature_discovery.loop import POLL_INTERVAL, SECOND_LOOK
from npu_feature_discovery.publisher import LONGEST_ASKED_FOR
from npu_feature_discovery.settings import Settings
from npu_feature_discovery.sinks.api_sink import TRUSTED_FOR, trusted_for

API_TIMEOUT = Settings().api_timeout
"""Seconds that the requests of one publication may take together."""
_INTERVAL = Settings().interval
_EXACT = 9
"""Decimals of a second below which two times are one: sums of floats differ by less."""


def pause(failures: int, asked_for: float, chance: float) -> float:
    """Seconds to wait after so many failures in a row, where the server asked for some (0: it did not)."""
    return BackOff(failures).wait(chance, min(asked_for, LONGEST_ASKED_FOR / 2))


def turn_from(started: float, earliest: float) -> float:
    """The first turn of the loop at or after ``earliest``: it turns at its start and each pulse from then on."""
    return started + max(0, math.ceil(round((earliest - started) / POLL_INTERVAL, _EXACT))) * POLL_INTERVAL


def look_from(started: float, earliest: float) -> float:
    """The first look at the cards at or after ``earliest``: the second one comes soon, then one each interval."""
    rest = max(0.0, earliest - started - SECOND_LOOK)
    return started + SECOND_LOOK + math.ceil(round(rest / _INTERVAL, _EXACT)) * _INTERVAL


@dataclass(frozen=True, slots=True)
class Times:
    """The product's choices, each of which a simulation may have differently, to see what it is worth.

    Attributes:
        start_jitter: seconds within which the first publication begins.
        pause: seconds to wait after a failure; see :func:`pause`.
        trusted: seconds, by a chance from 0 to 1, until a node looks whether its labels are still there.
        recheck: the moment of that look, from the start of the process and the earliest time.
    """

    start_jitter: float = Settings().start_jitter
    pause: Callable[[int, float, float], float] = pause
    trusted: Callable[[float], float] = trusted_for
    recheck: Callable[[float, float], float] = turn_from


def _exactly(failures: int, asked_for: float, chance: float) -> float:
    return max(BackOff(failures).wait(chance), min(asked_for, LONGEST_ASKED_FOR))


IN_STEP = Times(pause=_exactly, trusted=lambda _: TRUSTED_FOR, recheck=look_from)
"""Without the product's chances after the start: the time that the server asks for to the second, and looks for the
labels after ten minutes with a look at the cards. It was like this once."""
