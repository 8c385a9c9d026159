"""How long to wait after a failure: longer each time, and never the same on two nodes."""

import os
from dataclasses import dataclass

FIRST = 1.0
"""Seconds after the first failure."""
MOST = 60.0
"""Seconds at most."""
_DOUBLINGS = 6


@dataclass(frozen=True, slots=True)
class BackOff:
    """So many failures in a row.

    Attributes:
        failures: since the last success.
    """

    failures: int = 0

    @property
    def longest(self) -> float:
        """Seconds to wait at most after this many failures."""
        return min(MOST, FIRST * (1 << min(max(self.failures - 1, 0), _DOUBLINGS)))

    def after_failure(self) -> "BackOff":
        """One more of them."""
        return BackOff(self.failures + 1)

    def wait(self, chance: float, asked_for: float = 0.0) -> float:
        """Seconds to wait: half of the longest and, by ``chance`` from 0 to 1, up to all of it.

        Where more than that was asked for, it is from what was asked for to twice as much: whoever asks many nodes to
        come back at one time would have them all at once.
        """
        return max(self.longest, 2 * asked_for) * (1 + chance) / 2


def chance() -> float:
    """Anything from 0 to 1. Not by the module ``random``, which would load a large library for hashes."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF
