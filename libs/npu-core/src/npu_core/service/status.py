"""The status pages of a service: ``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from npu_core.service.http.messages import Answer, Request, verdict
from npu_core.service.http.pages import not_found, wrong_method

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PATHS = ("/healthz", "/readyz", "/metrics")
Families = Callable[[], Iterable["Metric"]]


class StatusPages:
    """Each page is made when it is asked for.

    Attributes:
        headers: what the pages read; see :class:`~npu_core.service.http.pages.Pages`.
    """

    headers = frozenset({"accept"})

    def __init__(
        self,
        why_not_alive: Callable[[], str],
        why_not_ready: Callable[[], str],
        load_families: Callable[[], Families],
    ) -> None:
        """Pages of a service.

        Args:
            why_not_alive: why the process has to be restarted; empty if it is alive.
            why_not_ready: why the service does not do its work; empty if it does.
            load_families: imports the service's metrics and gives what makes them. Called at the first scrape, on a
                thread: the library of metrics takes a tenth of a second to load, in which the service does its work.
        """
        self._why_not_alive = why_not_alive
        self._why_not_ready = why_not_ready
        self._load_families = load_families
        self._metrics: Callable[[Request], Answer] | None = None

    async def answer(self, request: Request) -> Answer:
        """See :class:`~npu_core.service.http.pages.Pages`."""
        if refused := wrong_method(request):
            return refused
        match request.path:
            case "/healthz":
                reason = self._why_not_alive()
                return verdict(not reason, "alive", reason)
            case "/readyz":
                reason = self._why_not_ready()
                return verdict(not reason, "ready", reason)
            case "/metrics":
                page = self._metrics = self._metrics or await self._load_off_the_loop()
                return page(request)
            case _:
                return not_found(PATHS)

    async def _load_off_the_loop(self) -> Callable[[Request], Answer]:
        try:
            return await asyncio.to_thread(self._load)
        except RuntimeError:  # the system refuses new threads
            return self._load()

    def _load(self) -> Callable[[Request], Answer]:
        from npu_core.service import metrics  # noqa: PLC0415  # not before it is needed

        families = self._load_families()
        return lambda request: metrics.answer(request, families())

    def answered(self, request: Request, status: HTTPStatus) -> None:
        """See :class:`~npu_core.service.http.pages.Pages`. Nothing is counted."""

    def in_flight(self, number: int) -> None:
        """See :class:`~npu_core.service.http.pages.Pages`. Nothing is counted."""
