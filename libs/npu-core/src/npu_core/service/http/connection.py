"""One client's connection: it reads requests, writes answers, and ends when either takes too long."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, Protocol, cast

import httptools

from npu_core.service.http.messages import Answer, Request, refusal
from npu_core.service.http.traffic import Refusal

_MOST_PIPELINED = 16
"""Requests that a client may send before the first of them is answered."""
_VERSIONS = {"1.0", "1.1"}
_HOST = re.compile(rb"(\[[0-9A-Za-z:.]+\]|[-0-9A-Za-z._~!$&'()*+,;=%]*)(:[0-9]*)?")
"""A name or address and a port (RFC 9110, section 7.2)."""
_ENCRYPTED_BYTES = 65536
"""Of an answer that are encrypted at once. The event loops encrypt all that is written, however little of it was taken,
and say that nothing is taken only when more is written."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take. Seconds and bytes.

    Attributes:
        connections: open at once; for one more, one makes room. An unfinished TLS handshake may hold 600 kB.
        answers: that are being taken at once; probes do not count.
        head_seconds: for a request to arrive, from its first byte, or from the connection on.
        taking_seconds: for an answer to be taken.
        idle_seconds: a connection stays open between two requests.
        request_bytes: of a request, body included, and of those before it that wait for their answers.
    """

    connections: int = 128
    answers: int = 16
    head_seconds: float = 5.0
    taking_seconds: float = 10.0
    idle_seconds: float = 75.0
    request_bytes: int = 16384


FEW = Limits(answers=8)
"""For a service whose clients are the kubelet and a Prometheus or two."""


class Host(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    buffer: memoryview
    headers: frozenset[str]

    async def answer(self, request: Request) -> Answer:
        """What to say. Never raises."""
        ...

    def admit(self, connection: "Connection", request: Request, answer: Answer) -> Answer:
        """The answer is about to be written; returns it, or what is to be said instead."""
        ...

    def used(self, connection: "Connection") -> None:
        """The client has taken an answer."""
        ...

    def lost(self, connection: "Connection") -> None:
        """The connection has ended."""
        ...

    def count(self, refusal: Refusal) -> None:
        """A client was cut off or refused."""
        ...


class _Asked(NamedTuple):
    request: Request | HTTPStatus
    size: int = 0


class Connection(asyncio.BufferedProtocol):
    """Requests of one client, one after the other.

    Attributes:
        client: the client's address.
        is_taking: whether the client is taking an answer.
        is_ending: whether nothing more is read.
    """

    def __init__(self, host: Host, client: str) -> None:
        """A connection that is not made yet."""
        self.client = client
        self.is_taking = False
        self._host = host
        self._limits = host.limits
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late: Callable[[], None] | None = None
        self._waiting: deque[_Asked] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.is_ending = False
        self._is_arriving = self._is_begun = self._is_head = False
        self._received = self._unanswered = 0
        self._target = self._named = b""
        self._hosts = 0
        self._headers: dict[str, str] = {}

    # -- for the server --------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End now."""
        self.is_ending = True
        if self._transport is not None:
            self._transport.abort()

    def end_soon(self) -> None:
        """End as soon as what was asked is answered."""
        self.is_ending = True
        if self._worker is None and self._transport is not None:
            self._transport.close()

    # -- for the loop ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; its request has to come now."""
        # uvloop's transports are none of asyncio's classes.
        made = self._transport = cast("asyncio.Transport", transport)
        # Writing counts as paused until everything was taken, not only while much is left. One byte and not none: with
        # TLS, nothing left would be paused too, and nothing would resume it.
        made.set_write_buffer_limits(high=1, low=0)
        if self.is_ending:
            made.abort()
        else:
            self._await(self._limits.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        del exc
        self._stop_waiting()
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
        # The parser refers to the connection: without this, thousands of connections would wait for the collector.
        self._parser = self._transport = None
        self._host.lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next data goes: one buffer for all connections, since what is read is parsed at once.

        asyncio would otherwise allocate 256 KiB for each read, and the memory of a process grows with that.
        """
        del sizehint
        return self._host.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Part of a request, one, or several."""
        data = self._host.buffer[:nbytes]
        if self.is_ending or self._parser is None:
            return
        self._received += len(data)
        if self._received + self._unanswered > self._limits.request_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, Refusal.REQUEST)
            return
        # Until the parser says that the request has ended: it says nothing of a first half of a line.
        self._is_arriving = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The client wants to go on in another protocol. The request itself is answered, and then all ends.
            self.is_ending = True
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, Refusal.REQUEST)
        if self._is_arriving and self._worker is None and not self.is_ending:
            self._await_rest()

    def eof_received(self) -> bool:
        """The client says no more; answers under way are still written, which TLS does not allow."""
        self.end_soon()
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        """Something was not taken at once."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Everything was taken."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- for the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_arriving = self._is_begun = self._is_head = True
        self._target, self._named, self._hosts, self._headers = b"", b"", 0, {}

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Only those that a page reads are kept: a request may have thousands, each an object or more.

        What follows a body in chunks is no header of the request (RFC 9110, section 6.5.1).
        """
        if not self._is_head or self.is_ending:
            return
        key = name.lower().decode("latin-1")
        if key == "host":
            self._hosts, self._named = self._hosts + 1, value
        elif key == "expect":
            # Who waits for leave to send a body has to be answered now, and asks again without waiting (RFC 9110).
            self._refuse(HTTPStatus.EXPECTATION_FAILED, Refusal.REQUEST)
        elif key in self._host.headers:
            text = value.decode("latin-1")
            self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._is_head = False

    def on_message_complete(self) -> None:
        """The request has ended."""
        self._is_arriving = self._is_begun = False
        # What comes with the same data after this request is counted as this request's.
        size, self._received = self._received, 0
        if self.is_ending or self._parser is None:
            return
        request = self._request(self._parser)
        if isinstance(request, HTTPStatus):
            self._refuse(request, Refusal.REQUEST)
        elif len(self._waiting) >= _MOST_PIPELINED:
            self._refuse(HTTPStatus.BAD_REQUEST, Refusal.REQUEST)
        else:
            self._unanswered += size
            self._waiting.append(_Asked(request, size))
            self._work()

    def _request(self, parser: httptools.HttpRequestParser) -> Request | HTTPStatus:
        version = parser.get_http_version()
        if version not in _VERSIONS:
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1") or not _HOST.fullmatch(self._named):
            return HTTPStatus.BAD_REQUEST
        method = parser.get_method().decode("latin-1")
        try:
            path, query = ("", "") if method == "CONNECT" else _path_and_query(self._target)
        except httptools.HttpParserInvalidURLError:
            return HTTPStatus.BAD_REQUEST
        # HTTP/1.0 has other words for a connection that stays; those clients connect again.
        is_kept = version == "1.1" and parser.should_keep_alive()
        return Request(method, path, query, self.client, self._headers, is_kept)

    # -- answers ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        # While answers are under way, the timer is that of the answer which is being taken: asking on does not stop it.
        if self._worker is None:
            self._stop_waiting()
            self._worker = self._loop.create_task(self._answer_all())

    async def _answer_all(self) -> None:
        try:
            while self._waiting and not self._closing:
                await self._answer(self._waiting.popleft())
                if self._waiting:
                    # Now the others, however many requests this client has sent at once.
                    await asyncio.sleep(0)
        finally:
            self._worker = None
        if self._closing:
            return
        if self.is_ending:
            self.end_soon()
        elif self._is_arriving:
            self._await(self._limits.head_seconds, self._too_slow)
        else:
            self._await(self._limits.idle_seconds, self.abort)

    async def _answer(self, asked: "_Asked") -> None:
        if isinstance(asked.request, Request):
            request, answer = asked.request, await self._host.answer(asked.request)
        else:
            request, answer = Request("GET", "", is_kept=False), refusal(asked.request)
        if not request.is_kept:
            self.is_ending = True
            self._waiting.clear()
        await self._write(request, self._host.admit(self, request, answer))
        self._unanswered -= asked.size

    async def _write(self, request: Request, answer: Answer) -> None:
        if self._closing or self._transport is None:
            return
        content = answer.content
        lines = [
            b"HTTP/1.1 %d %b" % (answer.status.value, answer.status.phrase.encode()),
            b"content-type: %b" % answer.content_type.encode(),
            b"content-length: %d" % len(content),
            *(b"%b: %b" % header for header in answer.headers),
            *([b"connection: close"] if self.is_ending else []),
        ]
        self.is_taking = True
        try:
            head = b"\r\n".join(lines) + b"\r\n\r\n"
            for part in self._parts(head, b"" if request.method == "HEAD" else content):
                self._transport.write(part)
                if self._writable is not None:
                    if self._late != self._took_nothing:
                        self._await(self._limits.taking_seconds, self._took_nothing)
                    # The transport of a connection that is lost never resumes: the worker is then cancelled.
                    await self._writable
        finally:
            self.is_taking = False
            self._stop_waiting()
            self._host.used(self)

    def _parts(self, head: bytes, content: bytes) -> Iterator[bytes | memoryview]:
        """An answer as it is written: whole, or as much at a time as may be encrypted at once."""
        if self._transport is None or self._transport.get_extra_info("sslcontext") is None:
            yield head + content
            return
        yield head + content[:_ENCRYPTED_BYTES]
        view = memoryview(content)
        for start in range(_ENCRYPTED_BYTES, len(content), _ENCRYPTED_BYTES):
            yield view[start : start + _ENCRYPTED_BYTES]

    @property
    def _closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    # -- ends ------------------------------------------------------------------------------------------------------

    def _refuse(self, status: HTTPStatus, reason: Refusal) -> None:
        """Say no after the answers that are under way, and read nothing more."""
        self._host.count(reason)
        self.is_ending = True
        if self._transport is not None:
            with suppress(RuntimeError):  # reading is paused already
                self._transport.pause_reading()
        self._waiting.append(_Asked(status))
        self._work()

    def _await_rest(self) -> None:
        """The rest of a request has to come in time, however often a part of it comes."""
        if self._late != self._too_slow:
            self._await(self._limits.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._is_begun:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, Refusal.SLOW_REQUEST)
        else:
            self._host.count(Refusal.SLOW_REQUEST)
            self.abort()

    def _took_nothing(self) -> None:
        self._host.count(Refusal.SLOW_ANSWER)
        self.abort()

    def _await(self, seconds: float, late: Callable[[], None]) -> None:
        """Call ``late`` after so many seconds, unless something else is waited for, or nothing any more."""
        self._stop_waiting()
        self._timer, self._late = self._loop.call_later(seconds, late), late

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._late = None


def _path_and_query(target: bytes) -> tuple[str, str]:
    """The path of a request's target, without percent-encoding, and its query.

    A target may be a whole URL (RFC 9112, section 3.2.2).

    Raises:
        httptools.HttpParserInvalidURLError: if the target is neither a path nor a URL.
    """
    url = httptools.parse_url(target)
    path, query = url.path or b"/", url.query or b""
    if b"%" in path:
        from urllib.parse import unquote_to_bytes  # noqa: PLC0415  # neither probes nor scrapes have a need for it

        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query.decode("latin-1")
