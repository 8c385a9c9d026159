"""The real discovery behind an API server: it publishes, rests without the client, and ends whatever happens there."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.testing import warboy
from npu_feature_discovery.events import Event
from testkit.services.discovery import FILE_NAME, PREFIX, LabelledNode
from testkit.standins.apiserver import Authority, Fault, StandInApiServer
from testkit.waiting import PATIENCE

NODE = "node-1"
SINKS = ("node-labels", "node-feature")


class ApiNode:
    """A machine whose discovery publishes through an API server."""

    def __init__(self, node: LabelledNode, server: StandInApiServer) -> None:
        self.node = node
        self.server = server
        self.account = node.home / "serviceaccount"
        server.add_node(NODE, {"kubernetes.io/hostname": NODE})
        server.store.namespaces.add("npu")
        server.write_service_account(self.account)

    async def start(self, sink: str, *options: str) -> None:
        """Start a discovery with this sink."""
        environment = self.server.environment | {"NODE_NAME": NODE, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        environment["PYTHONWARNINGS"] = "default"  # the client's own
        common = ("--sink", sink, "--namespace", "npu", "--service-account-dir", str(self.account))
        await self.node.start(*common, "--start-jitter", "0", *options, environment=environment)

    def labels(self, sink: str) -> dict[str, str]:
        """Those of ours that were published."""
        if sink == "node-labels":
            labels = self.server.node_labels(NODE)
        else:
            found = self.server.node_feature("npu", f"furiosa-npu-features-for-{NODE}")
            labels = {} if found is None else found["spec"]["labels"]
        return {key.removeprefix(PREFIX): value for key, value in labels.items() if key.startswith(PREFIX)}


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiNode]:
    """A machine with a card, and an API server that knows it."""
    async with LabelledNode(warboy(0)) as node:
        with StandInApiServer(Authority(tmp_path)) as server:
            yield ApiNode(node, server)
            if node.discovery.running:
                await node.discovery.stop()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split() + [
        child
        for task in os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  # names are what is asked for
        if int(task) != pid
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split()
    ]


@pytest.mark.parametrize("sink", SINKS)
async def test_labels_are_published_followed_and_kept(api: ApiNode, sink: str) -> None:
    await api.start(sink)
    await api.node.until(lambda: api.labels(sink).get("npu.count") == "1")
    assert api.labels(sink)["npu.product"] == "warboyB0"
    api.node.host.plug(warboy(1))
    await api.node.until(lambda: api.labels(sink).get("npu.count") == "2")
    assert await api.node.discovery.stop() == 0
    assert api.labels(sink)["npu.count"] == "2"


@pytest.mark.parametrize("sink", SINKS)
async def test_a_feature_file_of_ours_goes_once_the_labels_are_published_otherwise(api: ApiNode, sink: str) -> None:
    await api.node.up()
    await api.node.discovery.stop()
    others = api.node.features_d / "somebody-elses"
    others.write_text("a=b\n")
    api.server.fail(Fault(times=None, status=503))
    await api.start(sink)
    await api.node.discovery.until_logged(Event.CANNOT_PUBLISH, PATIENCE)
    assert (api.node.features_d / FILE_NAME).exists()
    api.server.heal()
    await api.node.discovery.until_logged(Event.OTHER_SINK_REMOVED, PATIENCE)
    assert list(api.node.features_d.iterdir()) == [others]


async def test_it_ends_with_its_child_while_the_server_does_not_answer(api: ApiNode) -> None:
    api.server.fail(Fault(times=None, delay=2 * PATIENCE))
    await api.start("node-labels", "--api-timeout", str(PATIENCE))
    await api.node.until(lambda: bool(api.server.asked))
    child = Path("/proc", children(api.node.discovery.pid)[0])
    assert await api.node.discovery.stop() == 0
    await api.node.until(lambda: not child.exists())
    assert not api.node.discovery.logged(Event.CANNOT_PUBLISH)


async def test_the_labels_go_with_it_where_that_is_wanted(api: ApiNode) -> None:
    await api.start("node-labels", "--cleanup-on-exit")
    await api.node.discovery.until_logged(Event.PUBLISHED, PATIENCE)
    assert await api.node.discovery.stop() == 0
    assert api.labels("node-labels") == {}
