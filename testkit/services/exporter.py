"""The real exporter, as a process, on a simulated host; the kubelet it asks; and what a scrape of it says."""

import asyncio
import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from npu_core.testing import CardPlan, FakeHost
from testkit.services.configured import free_port
from testkit.services.process import ServiceProcess, environment_of
from testkit.standins.pod_teller import PodTeller
from testkit.waiting import PATIENCE

OFTEN = ("--interval", "0.2", "--pod-interval", "0.1")
"""Options of an exporter that looks so often that tests are short."""
_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True, slots=True)
class Reply:
    """What the exporter answered.

    Attributes:
        status: the HTTP status.
        headers: by name, in lower case.
        body: as it came.
        took: seconds from the connection to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    took: float

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: every sample of it."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text format as Prometheus' own library does."""
        return cls(
            tuple(
                (sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )
        )

    def rows(self, name: str, **labels: str) -> list[dict[str, str]]:
        """The labels of every sample of this name that has at least these."""
        return [found for found, _ in self._of(name, labels)]

    def value(self, name: str, **labels: str) -> float:
        """The value of the only sample of this name that has at least these labels.

        Raises:
            AssertionError: if there is none, or another one.
        """
        found = list(self._of(name, labels))
        assert len(found) == 1, f"{name}{labels}: {found}"
        return found[0][1]

    def _of(self, name: str, labels: Mapping[str, str]) -> Iterable[tuple[dict[str, str], float]]:
        return [
            (found, value)
            for sample, found, value in self.samples
            if sample == name and labels.items() <= found.items()
        ]


class ExporterProcess(ServiceProcess):
    """``npu-metrics-exporter``. Used as ``async with ExporterProcess(host, port) as exporter:``."""

    def __init__(
        self,
        host: FakeHost,
        port: int,
        options: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        run_as: int | None = None,
    ) -> None:
        """An exporter of ``host`` that listens on this port of the loopback; an option of ``options`` comes last."""
        arguments = ["--listen-address", f"127.0.0.1:{port}", *options]
        super().__init__("npu_metrics_exporter", arguments, environment_of(host) | dict(environment or {}), run_as)


class ScrapedNode:
    """A machine with cards and an exporter. Used as ``async with ScrapedNode(warboy(0)) as node:``.

    Attributes:
        host: the cards.
        kubelet: tells who holds them; not started.
        plugin_dir: the kubelet's device-plugin directory; without a checkpoint.
        pod_logs_dir: the kubelet's log directory, without an entry.
        port: of the exporter.
    """

    def __init__(self, *cards: CardPlan) -> None:
        """A machine with these cards; nothing runs on it yet."""
        # tmp_path is too long for sockets.
        self.home = Path(tempfile.mkdtemp(prefix="x-"))
        self.host = FakeHost(self.home / "host", *cards)
        self.kubelet = PodTeller(self.home / "p" / "kubelet.sock")
        self.plugin_dir, self.pod_logs_dir = self.home / "d", self.home / "l"
        for directory in (self.plugin_dir, self.pod_logs_dir):
            directory.mkdir()
        self.port = free_port()
        self._exporter: ExporterProcess | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # In this order: the exporter stops while the kubelet runs.
        self._stack.callback(shutil.rmtree, self.home)
        self._stack.push_async_callback(self.kubelet.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def exporter(self) -> ExporterProcess:
        """The exporter that was started last."""
        assert self._exporter is not None
        return self._exporter

    def record(self, *entries: tuple[str, str, str], resource: str = "beta.furiosa.ai/npu") -> None:
        """Let the kubelet's checkpoint name these: a pod's UID, a container, a device."""
        recorded = [
            {"PodUID": uid, "ContainerName": container, "ResourceName": resource, "DeviceIDs": {"-1": [device]}}
            for uid, container, device in entries
        ]
        new = self.plugin_dir / "new"
        new.write_text(json.dumps({"Data": {"PodDeviceEntries": recorded, "RegisteredDevices": {}}, "Checksum": 1}))
        new.rename(self.plugin_dir / "kubelet_internal_checkpoint")

    async def start(
        self, *options: str, environment: Mapping[str, str] | None = None, run_as: int | None = None
    ) -> ExporterProcess:
        """Start an exporter; returns before it has done anything."""
        kubelet = (
            *("--pod-resources-socket", str(self.kubelet.socket)),
            *("--plugin-dir", str(self.plugin_dir)),
            *("--pod-logs-dir", str(self.pod_logs_dir)),
        )
        options = (*kubelet, *OFTEN, *options)
        self._exporter = ExporterProcess(self.host, self.port, options, environment, run_as)
        return await self._stack.enter_async_context(self._exporter)

    async def up(self, *options: str, run_as: int | None = None) -> Self:
        """Start an exporter; returns when it is ready."""
        await self.start(*options, run_as=run_as)
        begun = time.monotonic()
        while not await self._ready():
            assert self.exporter.running, "it ended"
            assert time.monotonic() - begun < PATIENCE, f"not ready after {PATIENCE} s"
            await asyncio.sleep(_BETWEEN_LOOKS)
        return self

    async def _ready(self) -> bool:
        try:
            return (await self.get("/readyz")).status == http.client.OK
        except ConnectionError:
            return False

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """GET a page on a connection of its own.

        Raises:
            ConnectionError: if nobody listens.
        """
        return await asyncio.to_thread(fetch, self.port, path, headers or {})

    async def scrape(self) -> Scrape:
        """Scrape it as text."""
        reply = await self.get("/metrics")
        assert reply.status == http.client.OK, reply
        return Scrape.parse(reply.text)

    async def until(self, holds: Callable[[Scrape], bool], within: float = PATIENCE) -> Scrape:
        """Scrape until something holds; returns the scrape of which it does.

        Raises:
            AssertionError: if it does not in time.
        """
        begun = time.monotonic()
        while not holds(scrape := await self.scrape()):
            assert time.monotonic() - begun < within, f"not so after {within} s"
            await asyncio.sleep(_BETWEEN_LOOKS)
        return scrape


def fetch(port: int, path: str, headers: Mapping[str, str]) -> Reply:
    """GET a page of the loopback on a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    named = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, named, body, time.monotonic() - begun)
