"""Machines whose plugin takes everything from a configuration file that the test rewrites while it runs."""

import asyncio
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

from testkit.services.node import RESOURCE, Node
from testkit.services.plugin import PluginProcess
from testkit.standins.kubelet import Event, EventKind

CONFIG = """\
interval: {interval}
pluginDir: {plugin_dir}
podResourcesSocket: {pod_resources}
listenAddress: "{listen}"
"""
_BETWEEN_LOOKS = 0.05


def free_port() -> int:
    """A port of the loopback that nobody had a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class ConfiguredNode:
    """A machine, and the configuration file of its plugin.

    Attributes:
        node: the machine; nothing runs on it at first.
        port: where the plugin's endpoint is, if it was asked for.
    """

    def __init__(self, node: Node, *, interval: float = 60, endpoint: bool = False) -> None:
        """A machine whose plugin will not enumerate again in a test, unless told so."""
        self.node = node
        self.port = free_port() if endpoint else 0
        self._common = CONFIG.format(
            interval=interval,
            plugin_dir=node.plugin_dir,
            pod_resources=node.kubelet.pod_resources_socket or node.home / "nobody.sock",
            listen=f"127.0.0.1:{self.port}" if endpoint else "off",
        )

    @property
    def path(self) -> Path:
        """The configuration file."""
        return self.node.home / "config.yaml"

    def configure(self, text: str = "", **instead: str) -> float:
        """Replace the file, as an editor would; returns when (monotonic).

        Args:
            text: what it says beside what tests do not care for.
            instead: what of that it says otherwise.
        """
        scratch = self.path.with_suffix(".new")
        lines = [line for line in self._common.splitlines() if line.partition(":")[0] not in instead]
        given = [f"{key}: {value}" for key, value in instead.items()]
        scratch.write_text("\n".join([*lines, *given, text, ""]))
        scratch.replace(self.path)
        return time.monotonic()

    async def start_plugin(self) -> PluginProcess:
        """Start the plugin with the file as it is."""
        return await self.node.run_plugin(PluginProcess.configured(self.node.host, self.path, {"NODE_NAME": "here"}))

    async def up(self, text: str = "", **instead: str) -> None:
        """Start the kubelet and, with this configuration, the plugin."""
        self.configure(text, **instead)
        await self.node.kubelet.start()
        await self.start_plugin()

    async def restart_plugin(self) -> None:
        """End the plugin, let the kubelet notice, and start another."""
        streams = self.node.kubelet.view().count(EventKind.STREAM_ENDED, RESOURCE)
        await self.node.plugin.stop()
        await self.node.kubelet.until(lambda view: view.count(EventKind.STREAM_ENDED, RESOURCE) > streams, 10.0)
        await self.start_plugin()

    def lists(self, resource: str = RESOURCE) -> tuple[Event, ...]:
        """Every list that the kubelet was ever sent."""
        return self.node.kubelet.events_of(EventKind.LIST_MESSAGE, resource)

    async def get(self, page: str) -> tuple[int, str]:
        """Status and text of a page of the plugin's endpoint; 0 if nobody answers."""
        return await asyncio.to_thread(get, f"http://127.0.0.1:{self.port}{page}")

    async def until_page(self, page: str, text: str, within: float) -> str:
        """Wait until a page has this line or beginning of one; returns the page.

        Raises:
            AssertionError: if it does not in time; it says what it has instead.
        """
        ends = time.monotonic() + within
        while True:
            status, body = await self.get(page)
            if any(line.startswith(text) for line in (f"{status}", *body.splitlines())):
                return body
            assert time.monotonic() < ends, f"{page} says {status}:\n{body}"
            await asyncio.sleep(_BETWEEN_LOOKS)


def get(url: str) -> tuple[int, str]:
    """Status and text of a page; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:  # noqa: S310  # the loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
