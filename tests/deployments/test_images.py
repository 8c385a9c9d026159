"""The images, as scripts/images-buildah made them: what is in them, and each doing its job in a container.

What is run is what the manifest says: no capability, a root that cannot be written, the manifest's own mounts.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.testing import FakeHost, warboy
from testkit.deployments.containers import NAMES, Container, Image, run, version
from testkit.services.configured import free_port
from testkit.services.discovery import LabelledNode
from testkit.services.exporter import Scrape, fetch
from testkit.services.node import RESOURCE, Node
from testkit.standins.pod_teller import PodTeller, pod
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.images

MOST_MEGABYTES = 80.0
SET_ID = 0o6000
INTERPRETER = "/usr/bin/python3.13"


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    with ExitStack() as stack:
        yield {service: stack.enter_context(Image(service)) for service in NAMES}


@pytest.fixture(params=NAMES)
def image(images: dict[str, Image], request: pytest.FixtureRequest) -> Image:
    return images[request.param]


def _of_host(host: FakeHost, **others: Path) -> dict[str, Path]:
    sysfs = Path(host.sysfs)
    (sysfs / "bus").mkdir(exist_ok=True)
    # Every Linux has these two directories, and the manifests rely on that.
    for name in ("shm", "pts"):
        (Path(host.devfs) / name).mkdir(exist_ok=True)
    return {
        "/sys/class": sysfs / "class",
        "/sys/devices": sysfs / "devices",
        "/sys/bus": sysfs / "bus",
        "/dev": Path(host.devfs),
        "/var/lib/kubelet/device-plugins": others.get("plugins", sysfs),
        "/var/lib/kubelet/pod-resources": others.get("pods", sysfs),
        "/var/log/pods": others.get("logs", sysfs),
        "/etc/kubernetes/node-feature-discovery/features.d": others.get("features", sysfs),
        "npu-device-plugin": others.get("config", sysfs),
    }


def test_an_image_is_small(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    megabytes = image.megabytes()
    with capsys.disabled():
        sys.stdout.write(f"\n{NAMES[image.service]}: {megabytes:.1f} MB unpacked\n")
    assert 20 < megabytes <= MOST_MEGABYTES


def test_an_image_has_its_commands_the_interpreter_and_no_other_program(image: Image) -> None:
    programs = {
        path.name for place in ("usr/bin", "usr/sbin", "usr/local/bin") for path in image.root.glob(f"{place}/*")
    }
    assert programs - {"python3", "python3.13"} == {NAMES[image.service], "npuctl"}
    assert image.settings["Entrypoint"] == [f"/usr/bin/{NAMES[image.service]}"]


def test_nothing_in_an_image_gives_rights(image: Image) -> None:
    assert [
        path
        for path in image.root.rglob("*")
        if not path.is_symlink() and path.is_file() and path.stat().st_mode & SET_ID
    ] == []


def test_an_image_says_which_version_of_what_it_is(image: Image) -> None:
    labels = image.settings["Labels"]
    assert labels["org.opencontainers.image.version"] == version(image.service)
    assert labels["org.opencontainers.image.title"] == NAMES[image.service]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    told = run(image, f"/usr/bin/{NAMES[image.service]}", "--version")
    assert version(image.service) in told.stdout


def test_a_start_compiles_no_module(image: Image) -> None:
    told = run(image, INTERPRETER, "-v", f"/usr/bin/{NAMES[image.service]}", "--help")
    loaded = [line for line in told.stderr.splitlines() if line.startswith("# code object from '")]
    assert len(loaded) > 50
    assert [line for line in loaded if line.endswith(".py'")] == []


def test_an_image_brings_the_command_of_the_library(image: Image) -> None:
    told = run(image, "/usr/bin/npuctl", "--help")
    assert told.returncode == 0, told.stderr
    assert "npuctl" in told.stdout


def test_root_is_for_those_who_need_it(images: dict[str, Image]) -> None:
    users = {service: image.settings["User"] for service, image in images.items()}
    assert users == {"device-plugin": "0:0", "feature-discovery": "0:0", "metrics-exporter": "65532:65532"}


def test_the_client_of_the_api_server_is_whole(images: dict[str, Image]) -> None:
    """Parts of it that nothing of ours uses are left out."""
    program = (
        "from kubernetes.client import ApiClient, ApiException, Configuration, CoreV1Api, CustomObjectsApi\n"
        "from kubernetes.config import ConfigException, load_kube_config\n"
        "from kubernetes.config.incluster_config import InClusterConfigLoader\n"
        "import npu_feature_discovery.publish.api, npu_feature_discovery.publish.credentials\n"
        "ApiClient(Configuration())\n"
    )
    told = run(images["feature-discovery"], INTERPRETER, "-c", program)
    assert told.returncode == 0, told.stderr


async def test_the_plugin_registers_and_its_unit_is_given_to_a_pod(images: dict[str, Image]) -> None:
    async with Node(warboy(0), warboy(1)) as node:
        config = node.home / "config"
        config.mkdir()
        address = f"127.0.0.1:{free_port()}"
        text = f"defaultPe: Single\ninterval: 1\nlistenAddress: {address}\n"
        (config / "config.yaml").write_text(text, encoding="utf-8")
        pods = node.home / "pods"
        pods.mkdir()
        await node.kubelet.start()
        paths = _of_host(node.host, plugins=node.plugin_dir, pods=pods, config=config)
        async with Container.of_manifest(images["device-plugin"], paths, {"NPU_LISTEN_ADDRESS": address}):
            await node.offers("npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1")
            admitted = await node.kubelet.run_pod("pod-a", {RESOURCE: 1})
            assert admitted.env["NPU_DEVNAME"] in {"npu0pe0", "npu0pe1", "npu1pe0", "npu1pe1"}


async def test_the_discovery_writes_its_labels(images: dict[str, Image]) -> None:
    async with LabelledNode(warboy(0), warboy(1)) as node:
        listening = {"NPU_LISTEN_ADDRESS": f"127.0.0.1:{free_port()}"}
        paths = _of_host(node.host, features=node.features_d)
        async with Container.of_manifest(images["feature-discovery"], paths, listening):
            await node.until_labelled(npu_count="2", npu_family="warboy")


@pytest_asyncio.fixture
async def teller() -> AsyncIterator[PodTeller]:
    home = Path(tempfile.mkdtemp(prefix="k-"))
    teller = PodTeller(home / "kubelet.sock")
    teller.tell([pod("resnet", "npu0pe0-1")])
    await teller.start()
    yield teller
    await teller.stop()
    shutil.rmtree(home)


async def test_the_exporter_answers_a_scrape_and_knows_who_holds_a_card(
    images: dict[str, Image], teller: PodTeller, tmp_path: Path
) -> None:
    port = free_port()
    paths = _of_host(FakeHost(tmp_path / "host", warboy(0)), pods=teller.socket.parent)
    listening = {"NPU_LISTEN_ADDRESS": f"127.0.0.1:{port}"}
    async with Container.of_manifest(images["metrics-exporter"], paths, listening) as exporter:
        await exporter.until_logged("listening", PATIENCE)
        scrape = await _scraped(port)
        assert scrape.value("furiosa_npu_alive", device="npu0") == 1
        assert [row["pod"] for row in scrape.rows("furiosa_npu_pod_info")] == ["resnet"]


async def _scraped(port: int) -> Scrape:
    """The first scrape with a pod in it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                reply = await asyncio.to_thread(fetch, port, "/metrics", {})
            except ConnectionError:
                reply = None
            if reply is not None and "furiosa_npu_pod_info{" in reply.text:
                return Scrape.parse(reply.text)
            await asyncio.sleep(0.1)


async def test_the_exporter_needs_no_root_where_pods_are_not_asked_for(
    images: dict[str, Image], tmp_path: Path
) -> None:
    port = free_port()
    host = FakeHost(tmp_path / "host", warboy(0))
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    container = Container(
        images["metrics-exporter"],
        [
            *("/usr/bin/npu-metrics-exporter", "--listen-address", f"127.0.0.1:{port}"),
            *("--sysfs", "/host/sys", "--devfs", "/host/dev"),
        ],
        mounts={"/host/sys": (Path(host.sysfs), True), "/host/dev": (Path(host.devfs), True)},
    )
    async with container as exporter:
        await exporter.until_logged("listening", PATIENCE)
