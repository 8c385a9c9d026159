"""A node under attack: all three services as processes on one simulated host, and what must succeed meanwhile."""

import asyncio
import base64
import json
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bcrypt
import yaml

from npu_core.testing import CardPlan
from testkit.footprint import footprint
from testkit.services.configured import free_port
from testkit.services.discovery import DiscoveryProcess
from testkit.services.exporter import ExporterProcess
from testkit.services.node import RESOURCE, Node
from testkit.services.plugin import PluginProcess
from testkit.services.process import ServiceProcess
from testkit.waiting import PATIENCE, eventually

ROUNDS = 5
"""How often each check has to succeed during an attack."""
FAILED_BY_MANY = 10
"""How often a check may fail in a row when clients of hundreds of addresses come faster than they are served.

None of these addresses has more connections than the checks, so a check may lose its place before it has asked. Checks
come twenty times a second here; the kubelet's come every ten seconds, and the third failure in a row restarts a pod.
"""
USER = "prometheus"
PASSWORD = "correct horse"  # noqa: S105  # of a test's user
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(6)).decode()
_LOG_OF_AN_ATTACK = 50_000
"""Bytes that a service may log during one attack, whatever the attack is and however long it lasts."""
_LOG_OF_A_POD = 400
"""Bytes that the plugin may log for each pod that gets a card."""
_THREADS = 32
_ROOT = Path(__file__).parents[2]
_MANIFESTS = _ROOT / "deployments"
_UNITS = {"Mi": 1 << 20}


def authorization(password: str = PASSWORD, user: str = USER) -> dict[str, str]:
    """The header of a request with this password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def replace(path: Path, text: str) -> None:
    """Replace whatever has this path by a file with the text, as an editor would."""
    scratch = path.with_suffix(".new")
    scratch.write_text(text, encoding="utf-8")
    if path.is_dir():
        path.rmdir()
    scratch.replace(path)


def memory_limit(manifest: str) -> int:
    """Bytes that a container of the manifest may have."""
    documents = yaml.safe_load_all((_MANIFESTS / manifest).read_text(encoding="utf-8"))
    [daemons] = [each for each in documents if each["kind"] == "DaemonSet"]
    [container] = daemons["spec"]["template"]["spec"]["containers"]
    limit = container["resources"]["limits"]["memory"]
    return int(limit[:-2]) * _UNITS[limit[-2:]]


@dataclass(frozen=True, slots=True)
class Target:
    """A service that is attacked.

    Attributes:
        name: what messages of these tests call it.
        process: the service.
        port: of its HTTP endpoint.
        limit: bytes of memory that its manifest grants.
    """

    name: str
    process: ServiceProcess
    port: int
    limit: int

    @property
    def resident(self) -> int:
        """Bytes resident now."""
        return footprint(self.process.pid).rss * 1024

    @property
    def logged_bytes(self) -> int:
        """How much it has logged so far."""
        return sum(map(len, self.process.log))


class AttackedNode:
    """Used as ``async with AttackedNode(warboy(0)) as node: await node.up()``.

    Attributes:
        node: the machine, its kubelet and its plugin.
        plugin, exporter, discovery: the services.
    """

    plugin: Target
    exporter: Target
    discovery: Target

    def __init__(self, *cards: CardPlan, context: ssl.SSLContext | None = None) -> None:
        """A machine with these cards; nothing runs on it yet.

        Args:
            cards: of the machine.
            context: with which a client of the exporter speaks TLS; None for plain HTTP.
        """
        self.node = Node(*cards)
        self.context = context
        self._pods_so_far = 0
        # Of its own: a flood of clients that a test runs in threads must not keep the checks waiting.
        self._threads = ThreadPoolExecutor(_THREADS)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.node)
        self.features_d.mkdir()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            statuses = {target.name: await target.process.stop() for target in self._running()}
        finally:
            await self._stack.__aexit__(kind, error, trace)
            self._threads.shutdown()
        # A test that has failed already is to say its own reason.
        if kind is None:
            assert not any(statuses.values()), f"a service did not end in good order: {statuses}"

    def _running(self) -> list[Target]:
        return [target for target in self.targets if target.process.running] if hasattr(self, "discovery") else []

    @property
    def home(self) -> Path:
        """A directory for files."""
        return self.node.home

    @property
    def features_d(self) -> Path:
        """The directory that nfd-worker reads."""
        return self.home / "features.d"

    @property
    def web_config(self) -> Path:
        """The exporter's web configuration."""
        return self.home / "web.yml"

    @property
    def config(self) -> Path:
        """The plugin's configuration."""
        return self.home / "config.yaml"

    @property
    def targets(self) -> tuple[Target, Target, Target]:
        """All three services."""
        return self.plugin, self.exporter, self.discovery

    async def up(
        self,
        *,
        before: Iterable[str] = (),
        config: str | None = None,
        exporter_options: Iterable[str] = (),
        web: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start everything; returns when every service is ready.

        Args:
            before: what the command lines of the services begin with, as ``prlimit --nofile=1024``.
            config: of the plugin's configuration file, which then says everything; None for options only.
            exporter_options: more options of the exporter.
            web: of the exporter's web configuration, beside the user.
        """
        self.write_web_config(web)
        await self.node.kubelet.start()
        ports = [free_port() for _ in range(3)]
        listen = [f"--listen-address=127.0.0.1:{port}" for port in ports]
        plugin = self._plugin(f"127.0.0.1:{ports[0]}", config)
        exporter = ExporterProcess(
            self.node.host,
            ports[1],
            ["--interval=0.2", "--pod-labels=off", f"--web-config-file={self.web_config}", *exporter_options],
        )
        discovery = DiscoveryProcess(self.node.host, self.features_d, [listen[2]])
        for process in (plugin, exporter, discovery):
            process.before = tuple(before)
            process.patience = PATIENCE
        self.plugin = Target("plugin", plugin, ports[0], memory_limit("device-plugin.yaml"))
        self.exporter = Target("exporter", exporter, ports[1], memory_limit("npu-metrics-exporter.yaml"))
        self.discovery = Target("discovery", discovery, ports[2], memory_limit("npu-feature-discovery.yaml"))
        await self.node.run_plugin(plugin)
        await self._stack.enter_async_context(exporter)
        await self._stack.enter_async_context(discovery)
        for target in self.targets:
            await self.eventually(partial(self._is_ready, target), "ready")
        return self

    def _is_ready(self, target: Target) -> bool:
        return self.status(target, "/readyz") == HTTPStatus.OK

    def _plugin(self, address: str, config: str | None) -> PluginProcess:
        if config is None:
            options = ["--interval=0.2", f"--listen-address={address}"]
            return PluginProcess(self.node.host, self.node.plugin_dir, options)
        common = f"interval: 0.2\npluginDir: {self.node.plugin_dir}\nlistenAddress: {address}\n"
        replace(self.config, common + config)
        return PluginProcess.configured(self.node.host, self.config)

    async def asks(self, target: Target, path: str, headers: Mapping[str, str] | None = None) -> int:
        """As :meth:`status`, without blocking."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.status, target, path, headers)

    def write_web_config(self, more: Mapping[str, Any] | None = None) -> None:
        """Write the exporter's web configuration.

        Args:
            more: of the configuration, beside the user.
        """
        replace(self.web_config, yaml.safe_dump({"basic_auth_users": {USER: HASH}, **(more or {})}))

    def status(self, target: Target, path: str, headers: Mapping[str, str] | None = None) -> int:
        """The status of an answer on a connection of its own; 0 if nobody listens, or the connection ended. Blocks."""
        context = self.context if target is self.exporter else None
        connection = (
            HTTPConnection("127.0.0.1", target.port, timeout=PATIENCE)
            if context is None
            else HTTPSConnection("127.0.0.1", target.port, timeout=PATIENCE, context=context)
        )
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
        except (ConnectionError, HTTPException, ssl.SSLError):
            return 0
        else:
            return answer.status
        finally:
            connection.close()

    async def eventually(self, holds: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
        """Wait until something holds; ``holds`` may block."""
        look: Callable[[], bool | Awaitable[bool]] = lambda: asyncio.to_thread(holds)  # noqa: E731  # for its type
        await eventually(look, what, within, pause=0.05)

    @asynccontextmanager
    async def works(self, tolerated: int = 0) -> AsyncIterator["Checks"]:
        """During the block, probes, scrapes with the password and pods succeed, each of them at least ROUNDS times.

        No service logs a traceback meanwhile, and none logs more than _LOG_OF_AN_ATTACK.

        Args:
            tolerated: how often each check may fail in a row.
        """
        checks = Checks(self, tolerated)
        begun = {target: (len(target.process.log), target.logged_bytes) for target in self.targets}
        pods = self._pods_so_far
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(checks.run(name, check)) for name, check in self._checks().items()]
            yield checks
            await checks.rounds()
            for task in running:
                task.cancel()
        assert not checks.failed, checks.failed
        granted = (self._pods_so_far - pods) * _LOG_OF_A_POD
        for target, (lines, size) in begun.items():
            assert target.process.running
            assert not [line for line in target.process.log[lines:] if "Traceback" in line], target.name
            more = granted if target is self.plugin else 0
            assert target.logged_bytes - size <= _LOG_OF_AN_ATTACK + more, target.name

    def _checks(self) -> dict[str, Callable[[], Awaitable[bool]]]:
        def asks(target: Target, path: str) -> Callable[[], Awaitable[bool]]:
            async def check() -> bool:
                return await self.asks(target, path, authorization()) == HTTPStatus.OK

            return check

        pages = {
            f"{target.name} {path}": asks(target, path) for target in self.targets for path in ("/healthz", "/metrics")
        }
        return {**pages, "a pod": self.runs_pod}

    async def runs_pod(self) -> bool:
        """Whether a pod gets a card, by Allocate."""
        self._pods_so_far += 1
        name = f"pod-{self._pods_so_far}"
        admitted = await self.node.kubelet.run_pod(name, {RESOURCE: 1})
        self.node.kubelet.delete_pod(name)
        return len(admitted.device_ids) == 1


StartNode = Callable[..., Awaitable[AttackedNode]]
"""The fixture ``start_node``: takes the arguments of AttackedNode and of :meth:`AttackedNode.up`."""


class Checks:
    """What is checked again and again, and how that went.

    Attributes:
        good: how often each succeeded.
        failed: how often each did not, of those that failed more often in a row than is tolerated.
    """

    def __init__(self, node: AttackedNode, tolerated: int = 0) -> None:
        """Checks that did not begin yet.

        Args:
            node: where they are done.
            tolerated: how often each may fail in a row.
        """
        self._tolerated = tolerated
        self.good: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._node = node
        self._names: set[str] = set()

    async def run(self, name: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Check for ever."""
        self._names.add(name)
        in_a_row = 0
        while True:
            if await check():
                self.good[name] += 1
                in_a_row = 0
            else:
                in_a_row += 1
                if in_a_row > self._tolerated:
                    self.failed[name] += 1
            await asyncio.sleep(0.05)

    async def rounds(self, number: int = ROUNDS) -> None:
        """Wait until each check has succeeded so many times from now on, or failed."""
        before = self.good.copy()

        def is_over() -> bool:
            return bool(self.failed) or all(self.good[name] >= before[name] + number for name in self._names)

        await self._node.eventually(is_over, f"{number} rounds of checks; good: {self.good}")


class Crowd:
    """Clients that want no good, see :mod:`hostile.crowd`. Known when the crowd has gone.

    Attributes:
        begun: how many connections they began.
        answers: how many answers of each status they got; of a client that reads slowly, none.
    """

    def __init__(self) -> None:
        """A crowd that is not there yet."""
        self.begun = 0
        self.answers: Counter[int] = Counter()


@asynccontextmanager
async def crowd(target: Target, number: int, **behavior: object) -> AsyncIterator[Crowd]:
    """A crowd of clients; all have connected once when the block begins.

    Args:
        target: where they connect.
        number: how many they are.
        behavior: the program's options; bytes become hexadecimal.
    """
    options = [_option(name, value) for name, value in behavior.items() if value is not False]
    come = Crowd()
    async with AsyncExitStack() as stack:
        processes = []
        for part in _parts(number):
            processes += [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.hostile.crowd", str(target.port), str(part), *options),
                    cwd=_ROOT,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
            ]
            stack.push_async_callback(_end, processes[-1], come)
        for each in processes:
            assert each.stdout is not None
            async with asyncio.timeout(PATIENCE * 2):
                assert await each.stdout.readline() == b"there\n"
        yield come


def _option(name: str, value: object) -> str:
    if value is True:
        return f"--{name}"
    return f"--{name}={value.hex() if isinstance(value, bytes) else value}"


_MOST_OF_ONE_PROCESS = 4000
"""Clients: many machines grant a process no more than 4096 descriptors without being asked."""


def _parts(number: int) -> Iterable[int]:
    while number > 0:
        yield min(number, _MOST_OF_ONE_PROCESS)
        number -= _MOST_OF_ONE_PROCESS


async def _end(process: asyncio.subprocess.Process, come: Crowd) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    told = await process.stdout.read()
    assert await process.wait() == 0
    known = json.loads(told)
    assert known["begun"] > 0
    come.begun += known["begun"]
    come.answers.update({int(status): number for status, number in known["answers"].items()})
