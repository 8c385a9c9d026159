"""The endpoint of the real discovery: off by default, and true to what happens."""

import asyncio
from pathlib import Path

from npu_core.testing import warboy
from npu_feature_discovery.events import Event
from testkit.services.configured import free_port, get
from testkit.services.discovery import LabelledNode
from testkit.waiting import PATIENCE, eventually


async def until(port: int, page: str, status: int, text: str = "") -> str:
    """Wait until a page answers like this; returns it."""

    async def looks() -> str:
        got, body = await asyncio.to_thread(get, f"http://127.0.0.1:{port}{page}")
        return body if got == status and text in body else ""

    return await eventually(looks, f"{page} with {status} and {text!r}")


def mapped_by(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


async def test_it_is_ready_while_the_labels_are_published_and_true() -> None:
    port = free_port()
    async with LabelledNode(warboy(0)) as node:
        node.features_d.rmdir()
        await node.start("--listen-address", f"127.0.0.1:{port}", "--interval", "0.2")
        await node.discovery.until_logged(Event.LISTENING, PATIENCE)
        await until(port, "/readyz", 503, str(node.features_d))
        node.features_d.mkdir()
        await until(port, "/readyz", 200)
        devices = (node.home / "host/dev").rename(node.home / "host/devices")
        await until(port, "/readyz", 503, "ENOENT")
        await until(port, "/healthz", 200)
        devices.rename(node.home / "host/dev")
        await until(port, "/readyz", 200)
        body = await until(port, "/metrics", 200)
        assert 'npu_feature_discovery_publishes_total{outcome="created"} 1.0' in body
        assert 'npu_feature_discovery_failures_total{reason="no_directory"}' in body
        assert "npu_feature_discovery_labels 10.0" in body


async def test_it_listens_nowhere_unless_told() -> None:
    async with LabelledNode(warboy(0)) as node:
        await node.up()
        assert not node.discovery.sockets()


async def test_an_api_server_that_is_not_there_does_not_keep_it_from_ending() -> None:
    async with LabelledNode(warboy(0)) as node:
        nowhere = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(free_port())}
        nowhere |= {"NODE_NAME": "here", "PYTHONWARNINGS": "default"}
        options = ("--sink", "node-labels", "--start-jitter", "0", "--service-account-dir", str(node.home))
        await node.start(*options, environment=nowhere)
        await node.discovery.until_logged(Event.CANNOT_PUBLISH, PATIENCE)
        assert await node.discovery.stop() == 0


async def test_an_address_that_can_be_none_is_told_and_costs_no_label() -> None:
    async with LabelledNode(warboy(0)) as node:
        await node.up("--listen-address", "a..b:6256")
        assert "a..b:6256" in await node.discovery.until_logged(Event.CANNOT_LISTEN, PATIENCE)
        assert node.discovery.logged(Event.ENDPOINT_ENDED) == []
