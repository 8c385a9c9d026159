"""The exporter's server in a thread, for tests that are its clients over real sockets."""

import asyncio
import http.client
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import uvloop
from prometheus_client.metrics_core import GaugeMetricFamily

from npu_core.service.http.connection import Limits
from npu_core.service.http.server import Server, serve
from npu_core.service.http.traffic import Traffic
from npu_metrics_exporter.metrics.render import Exposition, render
from npu_metrics_exporter.web.application import Web
from npu_metrics_exporter.web.reload import WebConfigReloader
from testkit.standins.apiserver.certificates import _request
from testkit.waiting import PATIENCE, until

T = TypeVar("T")


class TurnedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test can turn on."""

    turned = 0.0

    def time(self) -> float:
        return super().time() + self.turned

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """What the loop will do when its time has come."""
        return [each for each in self._scheduled if not each.cancelled()]  # type: ignore[attr-defined]


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop, "asyncio": TurnedLoop}


def exposition(cards: int = 2, page: bytes = b"<p>cards</p>") -> Exposition:
    """Two families, with a sample for each card."""
    families = []
    for name in ("furiosa_npu_alive", "furiosa_npu_uptime"):
        family = GaugeMetricFamily(name, "About cards.", labels=["device"])
        for index in range(cards):
            family.add_metric([f"npu{index}"], 1)
        families.append(family)
    return render(families, page=page, rendered_at=1.0)


@cache
def huge() -> Exposition:
    """More than the kernel keeps for a client that reads nothing."""
    return exposition(cards=150_000)


@dataclass
class FakeSource:
    """What the application serves, and what it tells."""

    current: Exposition | None = field(default_factory=exposition)
    is_healthy: bool = True
    is_ready: bool = True
    codes: Counter[int] = field(default_factory=Counter)
    flying: list[int] = field(default_factory=list)

    def exposition(self) -> Exposition | None:
        return self.current

    def complaint(self) -> str:
        return "" if self.is_healthy else "no collection for too long"

    def ready(self) -> bool:
        return self.is_ready

    def count(self, code: int) -> None:
        self.codes[code] += 1

    def in_flight(self, number: int) -> None:
        self.flying.append(number)


@dataclass
class Serving:
    """A server that runs."""

    source: FakeSource
    server: Server
    traffic: Traffic
    keeper: WebConfigReloader
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> tuple[str, int]:
        return self.server.addresses[0]

    def connect(self, source_host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE, source_address=(source_host, 0))

    def ask(self, path: str = "/metrics", method: str = "GET", **headers: str) -> "Reply":
        """One request on a connection of its own; ``accept_encoding`` becomes ``Accept-Encoding``."""
        return self.ask_on(http.client.HTTPConnection(*self.address, timeout=PATIENCE), path, method, **headers)

    def ask_tls(self, context: ssl.SSLContext, path: str = "/metrics", **headers: str) -> "Reply":
        port = self.address[1]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
        return self.ask_on(connection, path, **headers)

    def ask_on(
        self, connection: http.client.HTTPConnection, path: str = "/metrics", method: str = "GET", **headers: str
    ) -> "Reply":
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
        finally:
            connection.close()

    def wait_for_connections(self, number: int) -> None:
        until(lambda: self.server.connections == number, f"{number} connections")

    def wait_for_answers(self, number: int) -> None:
        """So many answers are being taken now."""
        until(lambda: self.source.flying[-1:] == [number], f"{number} answers in flight")

    def do(self, work: Callable[[], T]) -> T:
        """Call something in the loop's thread, and let the loop go on a little."""

        async def run() -> T:
            result = work()
            for _ in range(3):
                await asyncio.sleep(0)
            return result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    def turn(self, seconds: float) -> None:
        """Let so many seconds pass for the server, but not before the server has read what clients have said so far."""
        loop = self.loop
        assert isinstance(loop, TurnedLoop)
        assert self.ask("/healthz").status == 200

        def turn() -> None:
            loop.turned += seconds

        self.do(turn)

    def close(self, seconds: float) -> None:
        """End the server, which has so many seconds for answers under way."""
        asyncio.run_coroutine_threadsafe(self.server.close(seconds), self.loop).result(PATIENCE)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes; a reset is an end too."""
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    except ConnectionResetError:
        pass  # how an aborted connection ends
    return received


@contextmanager
def serving(
    source: FakeSource | None = None,
    web_config: Path | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    max_in_flight: int = 16,
    loop: str = "uvloop",
) -> Iterator[Serving]:
    """A server on a port of its own, in a thread, until the end of the block."""
    keeper = WebConfigReloader(str(web_config) if web_config else None)
    source = source or FakeSource()
    traffic = Traffic()
    made = LOOPS[loop]()
    thread = threading.Thread(target=made.run_forever, name="server")
    thread.start()

    async def start() -> Server:
        bounds = replace(limits, answers=max_in_flight)
        return await serve(Web(source, keeper), [("127.0.0.1", 0)], traffic, bounds, keeper.tls)

    async def end(server: Server) -> None:
        await server.close(0.1)

    try:
        server = asyncio.run_coroutine_threadsafe(start(), made).result(PATIENCE)
        try:
            yield Serving(source, server, traffic, keeper, made)
        finally:
            asyncio.run_coroutine_threadsafe(end(server), made).result(PATIENCE)
    finally:
        made.call_soon_threadsafe(made.stop)
        thread.join(PATIENCE)
        made.close()


class Certificates:
    """An authority's certificate, and those it signs, as files in a directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.authority = directory / f"{name}.crt"
        self._key = directory / f"{name}.key"
        _request(
            ["-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.authority)],
            ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"],
        )

    def sign(self, name: str, alternative: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, Path]:
        """A certificate and its key."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        _request(
            ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)],
            ["basicConstraints=critical,CA:FALSE", f"subjectAltName={alternative}"],
            ["-CA", str(self.authority), "-CAkey", str(self._key)],
        )
        return certificate, key

    def client(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """The context of a client that trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if pair:
            context.load_cert_chain(*pair)
        return context
