"""The status pages of a service: ``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from npu_core.service.http.messages import Answer, Request, verdict
from npu_core.service.http.pages import not_found, wrong_method

PATHS = ("/healthz", "/readyz", "/metrics")
Page = Callable[[Request], Answer]


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
        load_metrics: Callable[[], Page],
    ) -> None:
        """Pages of a service.

        Args:
            why_not_alive: why the process has to be restarted; empty if it is alive.
            why_not_ready: why the service does not do its work; empty if it does.
            load_metrics: gives the page of metrics. Called at the first scrape, on a thread: the library that writes
                the page takes a tenth of a second to load, in which the service does its work.
        """
        self._why_not_alive = why_not_alive
        self._why_not_ready = why_not_ready
        self._load_metrics = load_metrics
        self._metrics: Page | None = None

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
                return (await self._page_of_metrics())(request)
            case _:
                return not_found(PATHS)

    async def _page_of_metrics(self) -> Page:
        if self._metrics is None:
            try:
                self._metrics = await asyncio.to_thread(self._load_metrics)
            except RuntimeError:  # the system refuses new threads
                self._metrics = self._load_metrics()
        return self._metrics

    def answered(self, request: Request, status: HTTPStatus) -> None:
        """See :class:`~npu_core.service.http.pages.Pages`. Nothing is counted."""

    def in_flight(self, number: int) -> None:
        """See :class:`~npu_core.service.http.pages.Pages`. Nothing is counted."""
