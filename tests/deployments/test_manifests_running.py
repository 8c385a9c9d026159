"""Each service started as each manifest and overlay says: its command line, environment, mounts and rights.

What a container has mounted of its host is copied or linked into a directory, and paths that the service knows are put
below that; the ports are others, so that tests do not meet. Where root runs the tests, each is its securityContext's
user, without a capability; elsewhere it is whoever runs them.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.testing import warboy
from npu_device_plugin.settings import Settings as PluginSettings
from npu_feature_discovery.settings import DEFAULT_FILE
from testkit.deployments.manifests import Deployed, deployed
from testkit.services.configured import free_port
from testkit.services.exporter import Scrape, fetch
from testkit.services.node import Node
from testkit.services.process import ServiceProcess, environment_of
from testkit.standins.apiserver import Authority, StandInApiServer
from testkit.standins.pod_teller import PodTeller, pod
from testkit.waiting import PATIENCE

MODULES = {
    "/usr/bin/k8s-device-plugin": "npu_device_plugin",
    "/usr/bin/npu-feature-discovery": "npu_feature_discovery",
    "/usr/bin/npu-metrics-exporter": "npu_metrics_exporter",
}
PODS = PluginSettings().pod_resources_socket
LOGS = "/var/log/pods"
_READ_SEARCH = 1 << 2
"""CAP_DAC_READ_SEARCH; see contract.process."""
COUNT = "beta.furiosa.ai/npu.count"


def _daemon_sets(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("daemons", [each for each in deployed() if each.name == name], ids=str)


class Container:
    """A container's root: what the manifest mounts there of a host, and what its service is told.

    Attributes:
        root: a directory in the place of ``/``.
        port: where its endpoint is.
    """

    def __init__(self, daemons: Deployed, node: Node, root: Path) -> None:
        """A root with the mounts of the manifest; those of the kubelet's are links to the node's."""
        self.root = root
        self.port = free_port()
        self._daemons = daemons
        self._node = node
        linked = {
            "/dev": Path(node.host.devfs),
            "/var/lib/kubelet/device-plugins": node.plugin_dir,
            str(Path(PODS).parent): node.home / "pods",
            LOGS: node.home / "logs",
            str(Path(DEFAULT_FILE).parent): node.home / "features",
            "/var/run/cdi": node.home / "cdi",
        }
        for path, mount in daemons.mounts.items():
            if path.startswith("/host/dev/"):
                continue  # file systems that a container must not use; a simulated host has none below /dev
            here = self.inside(path)
            here.parent.mkdir(parents=True, exist_ok=True)
            if "configMap" in mount["volume"]:
                here.mkdir()
                continue
            where = mount["volume"]["hostPath"]["path"]
            if where in linked:
                linked[where].mkdir(exist_ok=True)
                here.symlink_to(linked[where])
            elif (whole := Path(node.host.sysfs) / where.removeprefix("/sys/")).is_dir():
                # A copy, whose links lead to nothing that is not mounted, too.
                shutil.copytree(whole, here, symlinks=True)

    def inside(self, path: str) -> Path:
        """Where a path of the container is here."""
        return self.root / path.removeprefix("/")

    def configure(self, text: str) -> None:
        """Write the ConfigMap's file, with paths of this root for those that it leaves as they are by default."""
        settings = PluginSettings()
        paths = {
            "pluginDir": settings.plugin_dir,
            "podResourcesSocket": settings.pod_resources_socket,
            "cdiDir": settings.cdi_dir,
        }
        redirected = "".join(f"{key}: {self.inside(path)}\n" for key, path in paths.items())
        self.inside("/etc/furiosa/config.yaml").write_text(text + redirected, encoding="utf-8")

    def process(self, others: Mapping[str, str]) -> ServiceProcess:
        """The service; ``others`` are settings with paths of this root."""
        program, *arguments = self._daemons.command
        told = {
            name: str(self.inside(value)) if value.startswith("/") else value
            for name, value in self._daemons.environment.items()
        }
        bare = environment_of(self._node.host)
        del bare["NPU_SYSFS"], bare["NPU_DEVFS"]
        listening = {"NPU_LISTEN_ADDRESS": f"127.0.0.1:{self.port}"}
        assert listening.keys() <= told.keys()
        arguments = [str(self.inside(one)) if one.startswith("/") else one for one in arguments]
        user: int = self._daemons.container["securityContext"]["runAsUser"]
        run_as = user if os.geteuid() == 0 else None
        return ServiceProcess(MODULES[program], arguments, bare | told | listening | dict(others), run_as)

    async def until_probes_succeed(self) -> None:
        """Wait until a kubelet would call it alive and ready.

        Raises:
            AssertionError: if it would not in time.
        """
        paths = [self._daemons.container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
        said: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while not said or any(said):
                    said = [await self._objection(path) for path in paths]
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"the probes say {said}") from None

    async def _objection(self, path: str) -> str:
        try:
            reply = await asyncio.to_thread(fetch, self.port, path, {})
        except ConnectionError as error:
            return str(error)
        return "" if reply.status == HTTPStatus.OK else f"{reply.status} {reply.text}"


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    """Two Warboy cards."""
    async with Node(warboy(0), warboy(1)) as node:
        node.home.chmod(0o755)  # for users that are not the one that made it
        (Path(node.host.sysfs) / "bus").mkdir(exist_ok=True)
        yield node


@pytest.fixture
def root() -> Iterator[Path]:
    """Short enough for sockets."""
    home = Path(tempfile.mkdtemp(prefix="r-"))
    home.chmod(0o755)  # for users that are not the one that made it
    yield home
    shutil.rmtree(home)


def _expect_bounds(daemons: Deployed, service: ServiceProcess) -> None:
    """It has the rights it was given, and a quarter of its memory's limit to spare."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{service.pid}/status").read_text(encoding="ascii").splitlines()
    )
    (limit,) = re.fullmatch(r"(\d+)Mi", daemons.container["resources"]["limits"]["memory"]).groups()  # type: ignore[union-attr]  # then it fails
    assert int(status["VmRSS"].removesuffix("kB")) < int(limit) * 1024 * 0.75
    if os.geteuid() == 0:
        context = daemons.container["securityContext"]
        assert set(status["Uid"].split()) == {str(context["runAsUser"])}
        assert set(status["Gid"].split()) == {str(context["runAsGroup"])}
        assert status["NoNewPrivs"] == "1"
        # Reading what others own, where Python itself is kept from others; no more, whoever it is.
        assert int(status["CapBnd"], 16) & ~_READ_SEARCH == 0
        assert int(status["CapEff"], 16) & ~_READ_SEARCH == 0


@_daemon_sets("furiosa-device-plugin")
async def test_the_plugin_registers_and_is_ready(daemons: Deployed, node: Node, root: Path) -> None:
    await node.kubelet.start()
    container = Container(daemons, node, root)
    container.configure(daemons.config)
    async with container.process({}) as service:
        await node.offers("npu0pe0-1", "npu1pe0-1")
        await container.until_probes_succeed()
        written = sorted(path.name for path in (node.home / "cdi").glob("*"))
        _expect_bounds(daemons, service)
        by_name = "/var/run/cdi" in daemons.mounts
        assert written == (["furiosa-npu-device-plugin-warboy.json"] if by_name else [])


@_daemon_sets("furiosa-npu-feature-discovery")
async def test_the_discovery_publishes_and_is_ready(daemons: Deployed, node: Node, root: Path, tmp_path: Path) -> None:
    (tmp_path / "authority").mkdir()
    account = root / "account"
    with StandInApiServer(Authority(tmp_path / "authority")) as server:
        server.add_node("node-1")
        server.store.namespaces.add("kube-system")
        server.write_service_account(account)
        (account / "namespace").write_text("kube-system", encoding="ascii")
        container = Container(daemons, node, root)
        others = server.environment | {
            "NPU_OUTPUT_FILE": str(container.inside(DEFAULT_FILE)),
            "NPU_SERVICE_ACCOUNT_DIR": str(account),
            "NPU_START_JITTER": "0",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        async with container.process(others) as service:
            await container.until_probes_succeed()
            _expect_bounds(daemons, service)
        file = node.home / "features" / Path(DEFAULT_FILE).name
        feature = server.node_feature("kube-system", "furiosa-npu-features-for-node-1")
        found = {
            "feature-file": f"{COUNT}=2\n" in file.read_text(encoding="ascii") if file.exists() else False,
            "node-feature": feature is not None and feature["spec"]["labels"][COUNT] == "2",
            "node-labels": server.node_labels("node-1").get(COUNT) == "2",
        }
        sink = daemons.environment.get("NPU_SINK", "feature-file")
        assert found == dict.fromkeys(found, False) | {sink: True}


@_daemon_sets("furiosa-npu-metrics-exporter")
async def test_the_exporter_is_ready_and_tells_of_cards_and_of_pods_where_it_may_ask(
    daemons: Deployed, node: Node, root: Path
) -> None:
    container = Container(daemons, node, root)
    kubelet = PodTeller(node.home / "pods" / Path(PODS).name)
    kubelet.tell([pod("resnet", "npu0pe0-1")])
    await kubelet.start()
    try:
        paths = {
            "NPU_POD_RESOURCES_SOCKET": str(container.inside(PODS)),
            "NPU_PLUGIN_DIR": str(container.inside("/var/lib/kubelet/device-plugins")),
            "NPU_POD_LOGS_DIR": str(container.inside(LOGS)),
        }
        async with container.process(paths) as service:
            await container.until_probes_succeed()
            (described,) = daemons.of_kind("Service")
            page = described["metadata"]["annotations"]["prometheus.io/path"]
            expected = [] if daemons.environment.get("NPU_POD_LABELS") == "off" else ["resnet"]
            async with asyncio.timeout(PATIENCE):
                while (found := await _scraped(container.port, page))[1] != expected:  # noqa: ASYNC110  # pages tell nobody that they change
                    await asyncio.sleep(0.1)
            assert found[0] == {"npu0", "npu1"}
            _expect_bounds(daemons, service)
    finally:
        await kubelet.stop()


async def _scraped(port: int, page: str) -> tuple[set[str], list[str]]:
    """The cards that are alive, and the pods that hold some."""
    reply = await asyncio.to_thread(fetch, port, page, {})
    scrape = Scrape.parse(reply.text)
    cards = {labels["device"] for name, labels, value in scrape.samples if name == "furiosa_npu_alive" and value == 1}
    return cards, [row["pod"] for row in scrape.rows("furiosa_npu_pod_info")]
