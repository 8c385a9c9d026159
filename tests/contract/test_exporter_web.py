"""The exporter as a process behind a web configuration, and among clients that hang: who gets in, and how it ends."""

import asyncio
import base64
import http.client
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest
import pytest_asyncio

from npu_core.testing import rngd, warboy
from npu_metrics_exporter.events import Event
from testkit.services.configured import free_port
from testkit.services.exporter import Scrape, ScrapedNode
from testkit.waiting import PATIENCE, eventually
from tests.metrics_exporter.serving import Certificates, read_all

if shutil.which("openssl") is None:
    pytest.skip("needs the openssl command, to make certificates", allow_module_level=True)
pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse"  # noqa: S105  # of a test's user
AUTHORIZED = {"Authorization": "Basic " + base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode()}
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
OFF = ("--pod-labels", "off")
RELOADED = "furiosa_npu_exporter_web_config_last_reload_success"
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
MANY_REQUESTS = 15
"""On one connection at once."""
LARGE = ("--static-labels", "rack=" + "r" * 20_000)
"""Makes so many answers more than the kernel keeps for who reads nothing."""
IN_FLIGHT = "furiosa_npu_exporter_scrape_inflight"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("authority"))


class Guarded(ScrapedNode):
    """A machine whose exporter encrypts and asks for a password."""

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(warboy(0), rngd(0))
        self.context = certificates.client()
        self._pair = certificates.sign("server")

    @property
    def file(self) -> Path:
        """The web configuration."""
        return self.home / "web.yml"

    def configure(self, text: str | None = None) -> None:
        """Replace the file, as an editor would; by one that is right, unless told otherwise."""
        right = (
            f"tls_server_config:\n  cert_file: {self._pair[0]}\n  key_file: {self._pair[1]}\n"
            f"basic_auth_users:\n  prometheus: {HASH}\n"
        )
        self.file.with_suffix(".new").write_text(right if text is None else text)
        self.file.with_suffix(".new").replace(self.file)

    async def up_guarded(self, *options: str) -> None:
        """Start the exporter with its web configuration; returns when it is ready."""
        self.configure()
        await self.start(*OFF, "--web-config-file", str(self.file), *options)
        await until_so(lambda: self.ask("/readyz")[0] == http.HTTPStatus.OK)

    def ask(self, path: str = "/metrics", **headers: str) -> tuple[int, bytes]:
        """Status and body, by an encrypted connection of its own; 0 if nobody listens yet."""
        client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.context)
        try:
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            return 0, b""
        finally:
            client.close()

    def scrape_guarded(self) -> Scrape:
        """Scrape with the password."""
        status, body = self.ask(**AUTHORIZED)
        assert status == http.HTTPStatus.OK
        return Scrape.parse(body.decode())


async def until_so(holds: Callable[[], bool]) -> None:
    look: Callable[[], bool | Awaitable[bool]] = lambda: asyncio.to_thread(holds)  # noqa: E731  # for its type
    await eventually(look, "what was to come")


@pytest_asyncio.fixture(loop_scope="module")
async def guarded(certificates: Certificates) -> AsyncIterator[Guarded]:
    """A card of each family; nothing runs yet."""
    async with Guarded(certificates) as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    """A card; nothing runs yet."""
    async with ScrapedNode(warboy(0)) as node:
        yield node


# -- the web configuration ---------------------------------------------------------------------------------------------


async def test_who_has_the_password_scrapes_and_probes_need_none(guarded: Guarded) -> None:
    await guarded.up_guarded()
    scrape = await asyncio.to_thread(guarded.scrape_guarded)
    assert len(scrape.rows("furiosa_npu_alive")) == 2
    status, body = await asyncio.to_thread(guarded.ask)
    assert (status, b"furiosa_npu" in body) == (401, False)
    assert (await asyncio.to_thread(guarded.ask, "/"))[0] == 401
    for probe in ("/healthz", "/readyz"):
        assert (await asyncio.to_thread(guarded.ask, probe))[0] == 200


async def test_a_broken_change_is_told_once_and_costs_nobody_anything(guarded: Guarded) -> None:
    await guarded.up_guarded()

    guarded.configure("basic_auth_users: 7\n")
    await until_so(lambda: guarded.scrape_guarded().value(RELOADED) == 0)
    for _ in range(3):
        assert (await asyncio.to_thread(guarded.ask))[0] == 401
    assert len(guarded.exporter.logged(Event.WEB_REFUSED)) == 1
    assert f"{guarded.file}:1: basic_auth_users is '7'" in guarded.exporter.logged(Event.WEB_REFUSED)[0].replace(
        '"', ""
    )

    guarded.configure()
    await until_so(lambda: guarded.scrape_guarded().value(RELOADED) == 1)
    assert len(guarded.exporter.logged(Event.WEB_REFUSED)) == 1


async def test_a_hash_of_a_password_is_never_logged(guarded: Guarded) -> None:
    await guarded.up_guarded()
    guarded.configure(f"basic_auth_users:\n  prometheus: {HASH}x\n")
    assert (await asyncio.to_thread(guarded.ask, **AUTHORIZED))[0] == 200
    await guarded.exporter.until_logged(Event.WEB_REFUSED, PATIENCE)
    assert guarded.exporter.logged(HASH[:20]) == []


async def test_a_wrong_web_configuration_at_the_start_is_told_whole(guarded: Guarded) -> None:
    guarded.configure("basic_auth_users: 7\ntls_server_config: {cert_fil: a}\n")
    exporter = await guarded.start(*OFF, "--web-config-file", str(guarded.file))
    assert await exporter.wait() == 2
    assert len(exporter.logged(f"{guarded.file}:1: ")) == 1
    assert exporter.logged(f"{guarded.file}:2: ") != []


# -- its end, while clients hang ---------------------------------------------------------------------------------------


def hang(port: int, stack: ExitStack, said: bytes) -> socket.socket:
    """A client that says this and then neither says nor takes anything."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", port))
    client.sendall(said)
    return client


def client_hello() -> bytes:
    """What a client says first, and then nothing: the handshake stays half done."""
    outgoing = ssl.MemoryBIO()
    handshake = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    return outgoing.read()


async def test_it_ends_while_clients_hang(node: ScrapedNode) -> None:
    await node.up(*OFF)
    with ExitStack() as stack:
        hanging = [hang(node.port, stack, said) for said in (b"", b"GET /metr", REQUEST) for _ in range(7)]
        assert (await node.get("/healthz")).status == 200
        assert await node.exporter.stop() == 0
        for client in hanging:
            await asyncio.to_thread(read_all, client)  # no client is left waiting


async def test_it_ends_while_handshakes_hang(guarded: Guarded) -> None:
    await guarded.up_guarded()
    with ExitStack() as stack:
        hanging = [hang(guarded.port, stack, client_hello()[:part]) for part in (0, 5, 1000) for _ in range(7)]
        assert (await asyncio.to_thread(guarded.ask, "/healthz"))[0] == 200
        assert await guarded.exporter.stop() == 0
        for client in hanging:
            await asyncio.to_thread(read_all, client)


async def test_it_ends_while_encrypted_clients_take_nothing(guarded: Guarded) -> None:
    await guarded.up_guarded(*LARGE)
    with ExitStack() as stack:
        head = "".join(f"{name}: {value}\r\n" for name, value in AUTHORIZED.items()).encode()
        for _ in range(5):
            plain = hang(guarded.port, stack, b"")
            wrap = guarded.context.wrap_socket
            client = await asyncio.to_thread(wrap, plain, server_hostname="127.0.0.1")
            stack.enter_context(client)
            client.sendall((REQUEST[:-2] + head + b"\r\n") * MANY_REQUESTS)
        await until_so(lambda: guarded.scrape_guarded().value(IN_FLIGHT) >= 5)
        assert await guarded.exporter.stop() == 0


async def test_an_answer_under_way_is_finished_for_who_takes_it(node: ScrapedNode) -> None:
    await node.up(*OFF)
    with ExitStack() as stack:
        client = hang(node.port, stack, REQUEST)
        first = await asyncio.to_thread(client.recv, 1000)
        stopping = asyncio.create_task(node.exporter.stop())
        rest = await asyncio.to_thread(read_all, client)
        assert await stopping == 0
    head, _, body = (first + rest).partition(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    assert len(body) == int(length.split()[1])


# -- where it listens --------------------------------------------------------------------------------------------------


def status_at(host: str, port: int) -> int:
    client = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        client.request("GET", "/metrics")
        return client.getresponse().status
    finally:
        client.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_it_listens_at_every_address_that_it_is_given(node: ScrapedNode) -> None:
    more = [free_port(), free_port()]
    options = [f"127.0.0.1:{port}" for port in more]
    if has_ipv6():
        options.append(f"[::1]:{node.port}")
    await node.up(*OFF, *(f"--listen-address={each}" for each in options))
    for port in (node.port, *more):
        assert await asyncio.to_thread(status_at, "127.0.0.1", port) == 200
    if has_ipv6():
        assert await asyncio.to_thread(status_at, "::1", node.port) == 200


async def test_an_address_that_somebody_has_is_told_and_does_not_end_the_exporter(node: ScrapedNode) -> None:
    with socket.create_server(("127.0.0.1", node.port)):
        exporter = await node.start(*OFF)
        line = await exporter.until_logged(Event.CANNOT_LISTEN, PATIENCE)
        assert f"127.0.0.1:{node.port}" in line
        assert exporter.running
