"""The exporter's pages, as an ASGI application."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from npu_core.service.logs import EventLog
from npu_metrics_exporter.auth import Passwords, Verdict
from npu_metrics_exporter.negotiation import Format, format_of, names_of, takes_gzip
from npu_metrics_exporter.rate import Gate
from npu_metrics_exporter.render import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from npu_metrics_exporter.web_reload import InForce, WebKeeper

_log = EventLog(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_Headers = tuple[tuple[bytes, bytes], ...]

METRICS = "/metrics"
PAGES = (METRICS, "/", "/healthz", "/readyz")
_PLAIN = "text/plain; charset=utf-8"
_LATER = ((b"retry-after", b"1"),)
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN
    headers: _Headers = ()


_TOO_OFTEN = Answer(HTTPStatus.TOO_MANY_REQUESTS, b"more often than rate_limit allows\n", headers=_LATER)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: str
    client: str
    headers: dict[bytes, str]

    @classmethod
    def of(cls, scope: Scope) -> "_Request":
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            headers[name] = f"{headers[name]},{text}" if name in headers else text
        client = scope.get("client")
        query = scope["query_string"].decode("latin-1")
        return cls(scope["method"], scope["path"], query, client[0] if client else "", headers)


class Web:
    """The ASGI application."""

    def __init__(self, source: Source, keeper: WebKeeper, max_in_flight: int = 16) -> None:
        """Serve ``source`` to at most ``max_in_flight`` at once; more are told to come again.

        An answer is in flight until the client's side has taken it, so that slow readers count.
        """
        self.max_in_flight = max_in_flight
        self._source = source
        self._keeper = keeper
        self._passwords = Passwords()
        self._rate = Gate()
        self._rate_of_strangers = Gate()
        self._in_flight = 0
        self._faults: set[tuple[str, str]] = set()
        self._date = (0, b"")

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            Exception: what no page expects; it is logged, and uvicorn says that something went wrong.
        """
        request = _Request.of(scope)
        try:
            await self._respond(request, send)
        except Exception as error:
            self._report_fault(request.path, error)
            raise

    async def _respond(self, request: _Request, send: Send) -> None:
        in_force = await self._keeper.follow()
        answer = self._probe(request) or await self._refusal(request, in_force)
        if answer is None:
            await self._serve(request, in_force, send)
        else:
            self._count(request, answer)
            await self._send(answer, in_force, send)

    async def _serve(self, request: _Request, in_force: InForce, send: Send) -> None:
        if self._in_flight >= self.max_in_flight:
            busy = Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"too many requests at once\n", headers=_LATER)
            self._count(request, busy)
            await self._send(busy, in_force, send)
            return
        self._move(+1)
        try:
            answer = self._page(request)
            self._count(request, answer)
            await self._send(answer, in_force, send)
        finally:
            self._move(-1)

    def _move(self, by: int) -> None:
        self._in_flight += by
        self._source.in_flight(self._in_flight)

    def _count(self, request: _Request, answer: Answer) -> None:
        if request.path == METRICS:
            self._source.count(answer.status)

    def _probe(self, request: _Request) -> Answer | None:
        """Probes come before everything: they hold no data, and the kubelet has no password."""
        match request.path:
            case "/healthz":
                complaint = self._source.complaint()
                good, yes, no = not complaint, b"alive\n", f"{complaint}\n".encode()
            case "/readyz":
                good, yes, no = self._source.ready(), b"ready\n", b"nothing collected yet, or not for too long\n"
            case _:
                return None
        return _wrong_method(request) or (Answer(HTTPStatus.OK, yes) if good else _unavailable(no))

    async def _refusal(self, request: _Request, in_force: InForce) -> Answer | None:
        # The password first: whoever has none takes nothing from the rate of those who have one.
        if in_force.users and (answer := await self._stranger(request, in_force)):
            return answer
        if not self._rate.lets_in(in_force.config.rate, time.monotonic()):
            return _TOO_OFTEN
        if request.path not in PAGES:
            body = f"nothing here; there are {', '.join(PAGES)}\n".encode()
            return Answer(HTTPStatus.NOT_FOUND, body)
        return _wrong_method(request)

    async def _stranger(self, request: _Request, in_force: InForce) -> Answer | None:
        header = request.headers.get(b"authorization", "")
        match await self._passwords.check(in_force.users, header, request.client):
            case Verdict.GOOD:
                return None
            case Verdict.BUSY:
                body = b"too many passwords are being checked\n"
                return Answer(HTTPStatus.TOO_MANY_REQUESTS, body, headers=_LATER)
            case Verdict.BAD if not self._rate_of_strangers.lets_in(in_force.config.rate, time.monotonic()):
                return _TOO_OFTEN
            case Verdict.BAD:
                challenge = (b"www-authenticate", b'Basic realm="npu-metrics-exporter", charset="UTF-8"')
                return Answer(HTTPStatus.UNAUTHORIZED, b"a user's name and password are needed\n", headers=(challenge,))

    def _page(self, request: _Request) -> Answer:
        try:
            exposition = self._source.exposition()
            if exposition is None:
                return _unavailable(b"nothing collected yet\n")
            if request.path == METRICS:
                return _scrape(request, exposition)
            return Answer(HTTPStatus.OK, exposition.page, "text/html; charset=utf-8", _PAGE_POLICY)
        except Exception as error:  # noqa: BLE001  # a page that cannot be made must not leave its reader without a word
            self._report_fault(request.path, error)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"this page could not be made; see the log\n")

    def _report_fault(self, page: str, error: Exception) -> None:
        # Once for each kind, not at every scrape.
        fault = (page, type(error).__name__)
        if fault not in self._faults:
            self._faults.add(fault)
            _log.exception("a page could not be made", error, page=page)

    async def _send(self, answer: Answer, in_force: InForce, send: Send) -> None:
        body = answer.body
        configured = {name.lower() for name, _ in in_force.headers}
        headers = [
            (b"date", self._now()),
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            *(header for header in answer.headers if header[0] not in configured),
            *in_force.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        # A message that says nothing: it is only sent when the client has taken the one before.
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _now(self) -> bytes:
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]


def _scrape(request: _Request, exposition: Exposition) -> Answer:
    is_openmetrics = format_of(request.headers.get(b"accept", "")) is Format.OPENMETRICS
    content_type = OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE
    if names := names_of(request.query):
        return Answer(HTTPStatus.OK, exposition.named(names, openmetrics=is_openmetrics), content_type, _VARY)
    if takes_gzip(request.headers.get(b"accept-encoding", "")):
        packed = exposition.openmetrics_gzip if is_openmetrics else exposition.text_gzip
        return Answer(HTTPStatus.OK, packed, content_type, _PACKED)
    return Answer(HTTPStatus.OK, exposition.openmetrics if is_openmetrics else exposition.text, content_type, _VARY)


def _wrong_method(request: _Request) -> Answer | None:
    if request.method in {"GET", "HEAD"}:
        return None
    return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET and HEAD only\n", headers=((b"allow", b"GET, HEAD"),))


def _unavailable(body: bytes) -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, body, headers=_LATER)
