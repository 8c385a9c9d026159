"""The status pages of a service: ``/healthz``, ``/readyz`` and ``/metrics``."""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client.metrics_core import Metric

from npu_core.service import metrics
from npu_core.service.http.messages import Answer, Request, verdict
from npu_core.service.http.pages import not_found, wrong_method

PATHS = ("/healthz", "/readyz", "/metrics")


class StatusPages:
    """Each page is made when it is asked for.

    Attributes:
        headers: what the pages read; see :class:`~npu_core.service.http.pages.Pages`.
    """

    headers = metrics.HEADERS

    def __init__(
        self,
        why_not_alive: Callable[[], str],
        why_not_ready: Callable[[], str],
        families: Callable[[], Iterable[Metric]],
    ) -> None:
        """Pages of a service.

        Args:
            why_not_alive: why the process has to be restarted; empty if it is alive.
            why_not_ready: why the service does not do its work; empty if it does.
            families: the metrics.
        """
        self._why_not_alive = why_not_alive
        self._why_not_ready = why_not_ready
        self._families = families

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
                return metrics.answer(request, self._families())
            case _:
                return not_found(PATHS)

    def answered(self, request: Request, status: HTTPStatus) -> None:
        """See :class:`~npu_core.service.http.pages.Pages`. Nothing is counted."""

    def in_flight(self, number: int) -> None:
        """See :class:`~npu_core.service.http.pages.Pages`. Nothing is counted."""
