"""The time of an event loop, which a test puts forward: what is to happen in a minute happens at once."""

import asyncio


class LoopClock:
    """Takes the place of the running loop's clock, for as long as the loop lives."""

    def __init__(self) -> None:
        """Time goes on as before."""
        loop = asyncio.get_running_loop()
        self._real, self._ahead = loop.time, 0.0
        loop.time = self  # type: ignore[method-assign]  # timers ask the loop for the time

    def __call__(self) -> float:
        """Seconds, as the loop's own clock gives them, and those that were put forward."""
        return self._real() + self._ahead

    def advance(self, seconds: float) -> None:
        """So many seconds have passed."""
        self._ahead += seconds
