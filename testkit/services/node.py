"""A whole machine in a directory: cards, a stand-in kubelet, and the plugin's process between them."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from npu_core.testing import CardPlan, FakeHost
from testkit.services.plugin import PluginProcess
from testkit.standins.kubelet import (
    EventKind,
    Generation,
    KubeletSettings,
    NodeView,
    PluginDevice,
    StandInKubelet,
    Wire,
)
from testkit.waiting import PATIENCE

RESOURCE = "beta.furiosa.ai/npu"
"""What a node's only family of cards is offered as."""
RENEGADE = "beta.furiosa.ai/npu-renegade"
"""What RNGD cards are offered as beside Warboy cards."""

OFTEN = ("--interval", "0.1")
"""Options of a plugin that enumerates so often that tests are short."""


class Node:
    """Used as ``async with Node(warboy(0)) as node:``. Nothing runs on it yet; all that was started ends with it.

    Attributes:
        host: the cards.
        plugin_dir: what is /var/lib/kubelet/device-plugins elsewhere. Made by the kubelet, as on a new machine.
        kubelet: not started.
    """

    def __init__(self, *cards: CardPlan, generation: Generation = Generation.B, **settings: object) -> None:
        """A machine with these cards; ``settings`` are fields of KubeletSettings.

        The kubelet is connected straight to the plugin, as a real one is. To reset or freeze connections it has to be
        given ``wire=Wire.RELAYED``.
        """
        # tmp_path is too long for sockets.
        self.home = Path(tempfile.mkdtemp(prefix="n-"))
        self.host = FakeHost(self.home / "host", *cards)
        self.plugin_dir = self.home / "p"
        devfs = Path(self.host.devfs)
        base = KubeletSettings(self.plugin_dir, generation=generation, devfs=devfs, wire=Wire.DIRECT)
        self.kubelet = StandInKubelet(replace(base, **settings))  # type: ignore[arg-type]  # checked by replace
        self._plugins: list[PluginProcess] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # In this order: a plugin that is still there stops while the kubelet runs.
        self._stack.callback(shutil.rmtree, self.home)
        self._stack.push_async_callback(self.kubelet.aclose)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def plugin(self) -> PluginProcess:
        """The plugin that was started last."""
        return self._plugins[-1]

    @property
    def socket(self) -> Path:
        """The plugin's socket."""
        return self.plugin_dir / "furiosa-npu"

    async def start_plugin(self, *options: str, environment: Mapping[str, str] | None = None) -> PluginProcess:
        """Start a plugin; returns before it has done anything."""
        return await self.run_plugin(PluginProcess(self.host, self.plugin_dir, options, environment))

    async def run_plugin(self, plugin: PluginProcess) -> PluginProcess:
        """Start this plugin."""
        self._plugins.append(plugin)
        return await self._stack.enter_async_context(plugin)

    async def up(self, *options: str) -> Self:
        """Start the kubelet and a plugin; returns when the kubelet has a first list of some resource."""
        await self.kubelet.start()
        await self.start_plugin(*options)
        await self.kubelet.until(lambda view: bool(view.resources), PATIENCE)
        return self

    async def offers(self, *ids: str, resource: str = RESOURCE, within: float = PATIENCE) -> NodeView:
        """Wait until exactly these units are healthy and somebody streams them."""
        return await self.kubelet.until(
            lambda view: view.healthy(resource) == set(ids) and view.streams(resource) == 1, within
        )

    async def heals(self, wound: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something that ends the registration; the same process must offer the same units soon after.

        What counts is a list that came after the wound: the kubelet may not have noticed it at first.
        """
        units, plugin, before = self.listed(), self.plugin, self.kubelet.view()
        healthy = {unit.id for unit in units if unit.healthy}
        await wound()
        await self.kubelet.until(
            lambda view: (
                view.registrations(RESOURCE) > before.registrations(RESOURCE)
                and view.messages(RESOURCE) > before.messages(RESOURCE)
                and view.streams(RESOURCE) == 1
                and view.healthy(RESOURCE) == healthy
            ),
            within=PATIENCE,
        )
        assert self.listed() == units
        assert plugin.running

    def listed(self, resource: str = RESOURCE) -> tuple[PluginDevice, ...]:
        """The last list that the kubelet was sent; nothing if there was none."""
        messages = self.kubelet.events_of(EventKind.LIST_MESSAGE, resource)
        return messages[-1].devices if messages else ()


Key = TypeVar("Key")


@asynccontextmanager
async def side_by_side(
    nodes: Mapping[Key, Node], start: Callable[[Key, Node], Awaitable[object]]
) -> AsyncIterator[dict[Key, Node]]:
    """These machines, each started by ``start``, all at once: that takes little longer than one alone."""
    async with AsyncExitStack() as stack:
        for node in nodes.values():
            await stack.enter_async_context(node)
        await asyncio.gather(*(start(key, node) for key, node in nodes.items()))
        yield dict(nodes)


MakeNode = Callable[..., Awaitable[Node]]
"""The fixture ``make_node``: takes the arguments of Node."""


async def in_every_generation(story: Callable[[Generation], Coroutine[Any, Any, None]]) -> None:
    """The same story with kubelets of all generations, side by side: they mostly wait."""
    # None is cut short by the failure of another: what it did not undo would fail the next test.
    outcomes = await asyncio.gather(*(story(generation) for generation in Generation), return_exceptions=True)
    failures: list[BaseException] = []
    for generation, outcome in zip(Generation, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            outcome.add_note(f"with a kubelet of generation {generation}")
            failures.append(outcome)
    if failures:
        raise BaseExceptionGroup("not every generation", failures)
