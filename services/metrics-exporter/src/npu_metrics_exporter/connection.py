"""One client's connection: uvicorn's, with a bound on everything that a client can make it wait for or keep."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from npu_core.service.logs import EventLog
from npu_metrics_exporter.tls import is_allowed

_log = EventLog(__name__)
_MOST_PIPELINED = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take. Seconds and bytes.

    Attributes:
        connections: open at once; for one more, that which was idle longest makes room.
        head_seconds: for a request to arrive, from its first byte, or from the connection on.
        taking_seconds: for an answer to be taken.
        idle_seconds: a connection stays open between two requests.
        request_bytes: of a request, body included, or of several that come at once.
    """

    connections: int = 256
    head_seconds: float = 5.0
    taking_seconds: float = 10.0
    idle_seconds: float = 75.0
    request_bytes: int = 16384


class Connection(HttpToolsProtocol):
    """Reads requests, writes answers, and ends when either takes too long."""

    def __init__(
        self, config: Config, state: ServerState, limits: Limits, sans: tuple[str, ...], on_lost: Callable[[], None]
    ) -> None:
        """A connection of the server whose configuration and state these are.

        Args:
            config: uvicorn's.
            state: uvicorn's; the connection is in its ``connections`` while it is open.
            limits: of this connection.
            sans: alternative names of which a client's certificate needs one; empty: none.
            on_lost: called when it has ended.
        """
        super().__init__(config, state, {})
        # uvicorn takes whole seconds only.
        self.timeout_keep_alive = cast("int", limits.idle_seconds)
        self._limits = limits
        self._sans = sans
        self._on_lost = on_lost
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._received = 0
        self._is_arriving = True
        self._arrival: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self.last_used = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered, so that it can make room for another."""
        cycle: RequestResponseCycle | None = self.cycle
        is_answered = cycle is None or cycle.response_complete
        return is_answered and self._taking is None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its request has to come now."""
        super().connection_made(transport)
        # Writing counts as paused until everything was taken, not only while much is left: see Web and pause_writing.
        # One byte and not none: with TLS, nothing left would be paused too, and nothing would resume it.
        transport.set_write_buffer_limits(high=1, low=0)
        self._await_arrival()
        if not is_allowed(transport.get_extra_info("peercert"), self._sans):
            _log.debug("client refused: none of its certificate's names is allowed", client=self.client)
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        self._writable()
        self._unset_keepalive_if_required()
        # uvicorn tells only the request that came last, which need not be the one that is being answered.
        for cycle in self._unanswered:
            cycle.disconnected = True
        self._unanswered.clear()
        super().connection_lost(exc)
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Part of a request, one, or several."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._received > self._limits.request_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        # Until told otherwise by the parser: it says nothing of a first half of a line.
        self._is_arriving = True
        super().data_received(data)
        if self._is_arriving and not self.transport.is_closing():
            self._await_arrival()
        else:
            self._stop_waiting()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._is_arriving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser.

        Raises:
            ValueError: if too many requests wait for their answers; the parser then ends the connection.
        """
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        self._unanswered.append(self.cycle)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._is_arriving = False
        self._received = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called when an answer was handed over, and as far as we know taken."""
        self.last_used = self.loop.time()
        if self._unanswered:
            self._unanswered.popleft()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Something was not taken at once."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self._limits.taking_seconds, self._cut_off, "took no answer")

    def resume_writing(self) -> None:
        """Everything was taken."""
        self._writable()
        super().resume_writing()

    def _writable(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _await_arrival(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(self._limits.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _too_slow(self) -> None:
        if self.is_idle and self._received:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._cut_off("asked for nothing")

    def _refuse(self, status: HTTPStatus) -> None:
        _log.debug("request refused", client=self.client, status=status.value)
        if self.is_idle:
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
            self.transport.close()
        else:
            self.transport.abort()

    def _cut_off(self, reason: str) -> None:
        _log.debug("client cut off", client=self.client, reason=reason)
        self.transport.abort()


def peer_failed(error: OSError) -> str:
    """Why a connection could not be made, in a few words."""
    return str(getattr(error, "reason", None) or error) if isinstance(error, ssl.SSLError) else str(error)
