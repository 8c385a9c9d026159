"""Keeps the newest exposition, swapped as a whole, for :mod:`~.web.application`, which answers the scrapes."""

from collections.abc import Callable

from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.metrics.render import Exposition
from npu_metrics_exporter.service_status import ServiceStatus


class LatestExposition:
    """Where the web application takes everything from; nothing in it waits. See :class:`~.web.application.Source`."""

    def __init__(self, telemetry: Counters, condition: Callable[[], ServiceStatus]) -> None:
        """Nothing is published yet.

        Args:
            telemetry: where scrapes are counted.
            condition: how the exporter is now.
        """
        self._telemetry = telemetry
        self._condition = condition
        self._current: Exposition | None = None

    def publish(self, exposition: Exposition) -> None:
        """From now on this is the newest one."""
        self._current = exposition

    def exposition(self) -> Exposition | None:
        """The newest one, or None before the first."""
        return self._current

    def complaint(self) -> str:
        """Why the process has to be restarted; empty if the process is alive."""
        return self._condition().complaint

    def ready(self) -> bool:
        """Whether there is something to scrape."""
        return self._condition().ready

    def count(self, code: int) -> None:
        """A scrape was answered with this status."""
        self._telemetry.scrapes[code] += 1

    def in_flight(self, number: int) -> None:
        """So many scrapes are being answered now."""
        self._telemetry.in_flight = number
