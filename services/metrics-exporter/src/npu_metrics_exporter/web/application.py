"""Answers requests: what a scrape gets, the other pages, and who may see them."""

import time
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs

from npu_core.service.http.messages import LATER, Answer, Request, verdict
from npu_core.service.http.pages import not_found, wrong_method
from npu_core.service.http.preferences import preferences
from npu_core.service.metrics import takes_openmetrics
from npu_metrics_exporter.metrics.render import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from npu_metrics_exporter.web.auth import Passwords, Verdict
from npu_metrics_exporter.web.rate import Gate
from npu_metrics_exporter.web.reload import ActiveWebConfig, WebConfigReloader

METRICS = "/metrics"
PAGES = (METRICS, "/", "/healthz", "/readyz")
_VARY = ((b"vary", b"Accept, Accept-Encoding"),)
_PACKED = (*_VARY, (b"content-encoding", b"gzip"))
_PAGE_POLICY = ((b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),)


class Source(Protocol):
    """Where the application takes what it serves; nothing in it may wait."""

    def exposition(self) -> Exposition | None:
        """The newest one, or None before the first collection."""

    def complaint(self) -> str:
        """Why the process has to be restarted; empty if the process is alive."""

    def ready(self) -> bool:
        """Whether there is something to scrape."""

    def count(self, code: int) -> None:
        """A scrape of ``/metrics`` was answered with this status."""

    def in_flight(self, number: int) -> None:
        """So many answers are on their way now."""


_TOO_OFTEN = Answer("more often than rate_limit allows\n", HTTPStatus.TOO_MANY_REQUESTS, headers=LATER)


class Web:
    """What the exporter's server serves; see :class:`~npu_core.service.http.pages.Pages`.

    Attributes:
        headers: those that choose a format, and the password.
    """

    headers = frozenset({"accept", "accept-encoding", "authorization"})

    def __init__(self, source: Source, keeper: WebConfigReloader) -> None:
        """Serve ``source`` to those whom the web configuration lets in."""
        self._source = source
        self._keeper = keeper
        self._passwords = Passwords()
        self._rate = Gate()
        self._rate_of_strangers = Gate()

    async def answer(self, request: Request) -> Answer:
        """The answer to one request, with the headers of the web configuration."""
        in_force = await self._keeper.follow()
        answer = self._probe(request) or await self._refusal(request, in_force) or self._page(request)
        configured = {name.lower() for name, _ in in_force.headers}
        kept = tuple(header for header in answer.headers if header[0] not in configured)
        return replace(answer, headers=(*kept, *in_force.headers))

    def answered(self, request: Request, status: HTTPStatus) -> None:
        """Scrapes are counted by status."""
        if request.path == METRICS:
            self._source.count(status)

    def in_flight(self, number: int) -> None:
        """So many clients are taking their answers."""
        self._source.in_flight(number)

    def _probe(self, request: Request) -> Answer | None:
        """Probes come before everything: they hold no data, and the kubelet has no password."""
        match request.path:
            case "/healthz":
                complaint = self._source.complaint()
                answer = verdict(not complaint, "alive", complaint)
            case "/readyz":
                answer = verdict(self._source.ready(), "ready", "nothing collected yet, or not for too long")
            case _:
                return None
        return wrong_method(request) or answer

    async def _refusal(self, request: Request, in_force: ActiveWebConfig) -> Answer | None:
        # The password first: whoever has none takes nothing from the rate of those who have one.
        if in_force.users and (answer := await self._stranger(request, in_force)):
            return answer
        if not self._rate.lets_in(in_force.config.rate, time.monotonic()):
            return _TOO_OFTEN
        if request.path not in PAGES:
            return not_found(PAGES)
        return wrong_method(request)

    async def _stranger(self, request: Request, in_force: ActiveWebConfig) -> Answer | None:
        header = request.headers.get("authorization", "")
        match await self._passwords.check(in_force.users, header, request.client):
            case Verdict.GOOD:
                return None
            case Verdict.BUSY:
                body = "too many passwords are being checked\n"
                return Answer(body, HTTPStatus.TOO_MANY_REQUESTS, headers=LATER)
            case Verdict.BAD if not self._rate_of_strangers.lets_in(in_force.config.rate, time.monotonic()):
                return _TOO_OFTEN
            case Verdict.BAD:
                challenge = (b"www-authenticate", b'Basic realm="npu-metrics-exporter", charset="UTF-8"')
                return Answer("a user's name and password are needed\n", HTTPStatus.UNAUTHORIZED, headers=(challenge,))

    def _page(self, request: Request) -> Answer:
        exposition = self._source.exposition()
        if exposition is None:
            return Answer("nothing collected yet\n", HTTPStatus.SERVICE_UNAVAILABLE, headers=LATER)
        if request.path == METRICS:
            return _scrape(request, exposition)
        return Answer(exposition.page, content_type="text/html; charset=utf-8", headers=_PAGE_POLICY)


def _scrape(request: Request, exposition: Exposition) -> Answer:
    is_openmetrics = takes_openmetrics(request.headers.get("accept", ""))
    content_type = OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE
    if names := parse_qs(request.query, errors="replace").get("name[]"):
        return Answer(exposition.named(names, openmetrics=is_openmetrics), HTTPStatus.OK, content_type, _VARY)
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        packed = exposition.openmetrics_gzip if is_openmetrics else exposition.text_gzip
        return Answer(packed, HTTPStatus.OK, content_type, _PACKED)
    return Answer(exposition.openmetrics if is_openmetrics else exposition.text, HTTPStatus.OK, content_type, _VARY)


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether the header admits gzip, by name or by ``*``; a weight of 0 is a no."""
    weights = {clause.partition(";")[0]: weight for clause, weight in preferences(accept_encoding)}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0
