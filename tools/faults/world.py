"""A machine on which everything may go wrong: cards, a stand-in kubelet, the real plugin, and pods that come and go."""

import asyncio
import json
import os
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from signal import SIGKILL, SIGTERM, SIGUSR1, SIGUSR2
from types import TracebackType
from typing import Self

from npu_core.arch import Arch
from npu_core.device import CardKey
from npu_core.partition import Partitioning
from npu_core.testing import CardPlan, FakeCard, FakeHost
from npu_core.testing.layout import mgmt_attributes
from npu_core.testing.plan import all_suffixes
from testkit.services.attribute_files import Breakage, mgmt_file
from testkit.services.plugin import PluginProcess
from testkit.standins.kubelet import (
    ContainerSpec,
    Cut,
    Event,
    EventKind,
    Generation,
    KubeletPanickedError,
    KubeletSettings,
    NodeView,
    Phase,
    PodError,
    PodResourcesBehaviour,
    StandInKubelet,
    StreamPlan,
    TopologyPolicy,
)
from tools.faults.invariants import Holder
from tools.faults.watch import LAG, RESOURCE, Watch, Wish, key_of

__all__ = ["RESOURCE", "Ask", "BrokenError", "Setup", "Shape", "Wish", "World"]

INTERVAL = 0.3
"""Seconds between two enumerations of the plugin."""
CONVERGES = 60.0
"""Seconds from the end of the last fault until everything is as it should be. It is so much sooner, on an idle machine;
what pods held that ended is free after fifteen seconds, and what no kubelet has taken after twenty."""
STAYS = 1.2
"""Seconds for which everything has to be so: the plugin's pulse, and some."""
ROOM = 0.4
"""Seconds that a pod waits for room before it tries all the same."""
STARTED = 30.0
"""Seconds for a plugin to have looked at the cards; it is on a busy machine."""
STOPPED = 5.0
"""Seconds for it to end: two, and three for a busy machine."""
_ANSWERS = 30.0
"""Seconds for the endpoint to answer."""
_SOCKET = "furiosa-npu"
_IDENTITY = ("device_type", "device_uuid", "device_sn", "busname", "dev")


class BrokenError(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The machine before the first fault."""

    cards: tuple[CardPlan, ...]
    generation: Generation
    default_pe: Partitioning
    restart_at_end: bool
    """Whether the kubelet is restarted at the end anyway; otherwise the plugin has to come back to one that stays."""
    thorough: bool
    """Whether the end waits until what pods held that ended is free again."""
    topology: TopologyPolicy = TopologyPolicy.NONE
    """The kubelet's policy. With any but none, newer kubelets die of a held unit that is not listed."""
    interval: float = INTERVAL
    """Seconds between two enumerations of the plugin."""
    listen: str = "off"
    """Where the plugin's endpoint is."""
    converges: float = CONVERGES
    """Seconds from the end of the last fault until everything is as it should be."""
    remembered: int | None = None
    """How many events the kubelet's journal keeps; None for all."""


class Shape(StrEnum):
    """Which containers of a pod ask for units. A sidecar is an init container that runs for the pod's whole life."""

    MAIN = "main"
    INIT = "init"
    INIT_AND_MAIN = "init, main"
    SIDECAR = "sidecar"
    SIDECAR_AND_MAIN = "sidecar, main"
    INIT_AND_SIDECAR = "init, sidecar"

    def containers(self, units: Mapping[str, int]) -> tuple[ContainerSpec, ...]:
        """The pod's containers, of which those named ask for so many units each; there always is a main one."""
        asking = self.value.split(", ")
        return tuple(
            ContainerSpec(name, units if name in asking else {}, init=name != "main", restartable=name == "sidecar")
            for name in ("init", "sidecar", "main")
            if name in asking or name == "main"
        )


class Ask(StrEnum):
    """Whose units a pod asks for. On a machine with one family, every pod asks for those."""

    FIRST = "first family"
    SECOND = "second family"
    BOTH = "both families"

    def of(self, families: tuple[Arch, ...]) -> tuple[Arch, ...]:
        """The families."""
        return {Ask.FIRST: families[:1], Ask.SECOND: families[-1:], Ask.BOTH: families}[self]


class FragilePlugin(PluginProcess):
    """The plugin, which a signal can refuse new threads from then on, and another one can grant them again."""

    def __init__(self, *arguments: object, **options: object) -> None:
        """As the plugin."""
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # passed on
        self._program = ("-c", _FRAGILE)
        self._ends = False

    @property
    def has_begun(self) -> bool:
        """Whether it runs, and is past the point where a signal would end it."""
        return self.running and not self._ends and bool(self.logged(" starting "))

    async def stop(self, number: int = SIGTERM) -> int:
        """As any service's. An interpreter that ends does not take the signals for threads any more."""
        self._ends = True
        return await super().stop(number)

    def refuse_threads(self) -> None:
        """From now on the system refuses it new threads."""
        os.kill(self.pid, SIGUSR1)

    def grant_threads(self) -> None:
        """The system grants it threads again."""
        if self.running and not self._ends:
            os.kill(self.pid, SIGUSR2)


_FRAGILE = """
import signal, threading
usual = threading.stack_size()
# A thread whose stack does not fit into the address space is refused as any other.
signal.signal(signal.SIGUSR1, lambda *_: threading.stack_size(1 << 47))
signal.signal(signal.SIGUSR2, lambda *_: threading.stack_size(usual))
from npu_device_plugin.entry import main
main()
"""


class World:
    """Used as ``async with World(setup) as world:``; the kubelet and the plugin run then.

    Attributes:
        watch: what it sees, and what was broken so far.
        wish: what the last right configuration says.
        frozen: whether the kubelet may hang on to a connection on which nothing moves.
    """

    def __init__(self, setup: Setup, listener: Callable[[Event], None] = lambda _: None) -> None:
        """A machine on which nothing runs yet; the listener is called with every event of the kubelet."""
        # tmp_path is too long for sockets.
        self.home = Path(tempfile.mkdtemp(prefix="f-"))
        self.setup = setup
        self.host = FakeHost(self.home / "host", *setup.cards)
        self.plugin_dir = self.home / "p"
        self.config_file = self.home / "config.yaml"
        self.wish = Wish(setup.default_pe)
        self.watch = Watch(self.host, self.wish)
        self.kubelet = self.watch.kubelet = StandInKubelet(
            KubeletSettings(
                self.plugin_dir,
                generation=setup.generation,
                pod_resources_dir=self.home / "r",
                devfs=Path(self.host.devfs),
                topology_policy=setup.topology,
                dies_of_unlisted_grants=True,
                dial_deadline=1.0,
                remembered=setup.remembered,
            ),
            self._on_event,
        )
        self._listener = listener
        self.frozen = False
        self.foreign: list[socket.socket] = []
        self.plugins: list[FragilePlugin] = []
        self._lacks: set[asyncio.Task[None]] = set()
        self._attributes: set[tuple[CardKey, str]] = set()
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._drivers: set[asyncio.Task[None]] = set()
        self._renumbered: set[int] = set()
        self._hidden: dict[int, float] = {}
        self._pod_count = 0

    async def __aenter__(self) -> Self:
        self.write_config(self.wish)
        await self.start_kubelet()
        await self._start_plugin()
        await self._some_free(self._resources(Ask.BOTH), 1, STARTED)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = (*self._pods.values(), *self._drivers, *self._lacks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close_foreign()
        if self.plugin.running:
            await self.plugin.stop(SIGKILL)
        await self.kubelet.aclose()
        shutil.rmtree(self.home)

    def _on_event(self, event: Event) -> None:
        self.watch.see(event)
        self._listener(event)

    @property
    def broken(self) -> list[str]:
        """The invariants that did not hold so far, in words."""
        return self.watch.broken

    @property
    def slow(self) -> bool:
        """Whether the kubelet reads so slowly that what it is told may be outdated."""
        return self.watch.slow

    @property
    def kubelet_up(self) -> bool:
        """Whether there is a kubelet."""
        return self.kubelet.running

    @property
    def kubelet_knows_pods(self) -> bool:
        """Whether there is one that has heard of its pods from the API server."""
        process = self.kubelet._process
        return process is not None and process.knows_pods

    # -- the plugin -----------------------------------------------------------------------------------------------

    @property
    def plugin(self) -> FragilePlugin:
        """The plugin that runs."""
        return self.plugins[-1]

    def socket(self, number: int) -> Path:
        """A socket of the plugin's: there is one for each family."""
        sockets = [_SOCKET, *sorted(path.name for path in self.plugin_dir.glob(f"{_SOCKET}-*"))]
        return self.plugin_dir / sockets[number % len(sockets)]

    async def _start_plugin(self) -> None:
        self.plugins.append(FragilePlugin.configured(self.host, self.config_file))
        self.watch.plugin_starts(self.plugin)
        await self.plugin.start()

    async def restart_plugin(self, *, kill: bool) -> None:
        """End the plugin and start another one, whoever holds what and whether or not there is a kubelet.

        A plugin that starts with a wrong configuration ends, so the configuration is made right first.
        """
        self.write_config(self.wish)
        if kill:
            await self.plugin.stop(SIGKILL)
        else:
            await self._stop_plugin_in_order()
        # What it said last is read before it is forgotten who it knew.
        await asyncio.sleep(0.02)
        self.watch.check()
        await self._start_plugin()

    async def plugin_has_started(self) -> None:
        """Wait until it has read its configuration, if it does at all. A wrong one is then none to end for."""
        await self._logged("starting")

    async def _logged(self, text: str) -> bool:
        """Wait until the plugin has said so; whether it has."""
        end = time.monotonic() + STARTED
        while not self.plugin.logged(text):
            if time.monotonic() > end or not self.plugin.running:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _stop_plugin_in_order(self) -> None:
        await self.plugin_has_started()
        asked = time.monotonic()
        status = await self.plugin.stop(SIGTERM)
        took = time.monotonic() - asked
        # A signal that comes before the process is ready for it ends it too.
        early = status == -SIGTERM and len(self.plugin.log) == 1
        if took > STOPPED or (status != 0 and not early):
            self.broken.append(f"on SIGTERM the plugin ended with status {status} after {took:.1f} s")

    def leave_log_unread(self) -> None:
        """Let nobody read the plugin's log; the pipe is full."""
        if self.plugin.has_begun:
            self.plugin.stop_reading_log()

    def read_log_again(self, later: float) -> None:
        """Let the plugin's log be read again, after so many seconds."""
        self._end_later(later, self.plugin.read_log_again)

    def refuse_threads(self, seconds: float) -> None:
        """Let the system refuse the plugin threads for a while."""
        plugin = self.plugin
        if plugin.has_begun:
            plugin.refuse_threads()
            self.watch.blind = True
            self._end_later(seconds, plugin.grant_threads, self._see_again)

    def _see_again(self) -> None:
        self._end_later(LAG, self._is_seeing)

    def _is_seeing(self) -> None:
        self.watch.blind = False

    def _end_later(self, seconds: float, *ends: Callable[[], None]) -> None:
        async def end() -> None:
            await asyncio.sleep(seconds)
            for each in ends:
                each()

        task = asyncio.get_running_loop().create_task(end())
        self._lacks.add(task)
        task.add_done_callback(self._lacks.discard)

    async def is_alive(self) -> None:
        """The plugin says in time that its loop turns, if it has begun."""
        if not self.plugin.has_begun:
            return
        status, text = await asyncio.to_thread(_get, f"http://{self.setup.listen}/healthz")
        # A plugin that has just begun, or just ended, does not listen.
        if status not in {0, 200}:
            self.broken.append(f"/healthz says {status}: {text}")

    # -- the kubelet ----------------------------------------------------------------------------------------------

    async def start_kubelet(self) -> None:
        """Let there be a kubelet."""
        if not self.kubelet_up:
            await self.kubelet.start()
            self.frozen = False

    async def stop_kubelet(self, kill: Cut | None = None) -> None:
        """Let there be none: in order, or killed, with the plugin seeing that of it."""
        if kill is None:
            await self.kubelet.stop()
        else:
            await self.kubelet.kill(kill)

    async def start_api_server(self) -> None:
        """Let there be an API server: a kubelet that was started without it hears of its pods."""
        try:
            await self.kubelet.start_api_server()
        except KubeletPanickedError:
            return  # the watch has seen it

    async def forget_checkpoint(self) -> None:
        """Remove the checkpoint of a kubelet that is down, on a machine that is drained for it.

        A kubelet without its checkpoint gives every unit away again. Without an API server no machine is drained.
        """
        assert not self.kubelet_up
        if self.kubelet.api_server_up:
            await self.delete_all_pods()
            self.kubelet.checkpoint_path.unlink(missing_ok=True)

    async def cut(self, how: Cut) -> None:
        """End the kubelet's connections to the plugin."""
        if self.kubelet_up:
            self.frozen = self.frozen or how is Cut.FREEZE
            for resource in sorted(self.kubelet.view().resources):
                await self.kubelet.cut(resource, how)

    async def read_slowly(self, pause: float) -> None:
        """Let the kubelet pause before it reads each message; 0 lets it read at once again."""
        self.watch.slow = True
        self.kubelet.plan_streams(StreamPlan(pause=pause))
        # A stream is read to its end as it was begun.
        await self.cut(Cut.CANCEL)
        self.watch.slow = pause > 0

    async def set_pod_resources(self, behaviour: PodResourcesBehaviour) -> None:
        """Let PodResources behave so."""
        await self.kubelet.set_pod_resources(behaviour)

    # -- pods -----------------------------------------------------------------------------------------------------

    @property
    def held(self) -> tuple[Holder, ...]:
        """What live pods hold."""
        return self.watch.holders()

    def pods(self) -> list[str]:
        """The pods that are not over, and whose admission is."""
        pods = self.kubelet.view().pods.values()
        return [pod.name for pod in pods if not pod.phase.terminal and self._pods[pod.name].done()]

    async def start_pod(self, units: int, shape: Shape = Shape.MAIN, ask: Ask = Ask.FIRST) -> None:
        """Start a pod, at best when there is room; if the plugin does not answer soon, go on meanwhile."""
        resources = self._resources(ask)
        if self._takes_pods:
            await self._some_free(resources, units, ROOM)
        if self._takes_pods:
            self._pod_count += 1
            name = f"pod{self._pod_count}"
            await self._spawn(name, self._run_pod(name, shape.containers(dict.fromkeys(resources, units))))

    @property
    def _takes_pods(self) -> bool:
        return self.kubelet_up and self.kubelet.api_server_up

    def _resources(self, ask: Ask) -> tuple[str, ...]:
        return tuple(map(self.watch.resource, ask.of(self.watch.families)))

    async def _some_free(self, resources: tuple[str, ...], units: int, within: float) -> None:
        end = time.monotonic() + within
        while time.monotonic() < end:
            view = self.kubelet.view()
            if all(len(view.healthy(each) - view.in_use(each)) >= units for each in resources):
                return
            await asyncio.sleep(0.02)

    async def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._pods[name] = task
        await asyncio.wait({task}, timeout=0.3)

    async def _run_pod(self, name: str, containers: tuple[ContainerSpec, ...]) -> None:
        try:
            await self.kubelet.run_pod(name, containers=containers)
        except (PodError, KubeletPanickedError):
            return  # whoever has no card to give may say so, and the watch has seen a panic

    async def restart_container(self, name: str) -> None:
        """Start a pod's main container once more."""
        if self.kubelet_knows_pods and self.kubelet.view().pod(name).running:
            await self._spawn(name, self._restart_container(name))

    async def _restart_container(self, name: str) -> None:
        try:
            await self.kubelet.restart_container(name)
        except (PodError, KubeletPanickedError):
            return  # it may not keep a unit that is not healthy

    def finish_pod(self, name: str, phase: Phase) -> None:
        """Let a pod end by itself, for which neither kubelet nor API server is needed."""
        self.kubelet.finish_pod(name, phase)

    def delete_pod(self, name: str) -> None:
        """Delete a pod, where there is an API server."""
        if self.kubelet.api_server_up:
            self.kubelet.delete_pod(name)

    def forget_pods(self) -> None:
        """Delete the pods that are over, as garbage collection does: what remembers all of them grows."""
        for pod in self.kubelet.view().pods.values():
            if pod.phase.terminal and self._pods[pod.name].done():
                self.kubelet.delete_pod(pod.name)
        known = self.kubelet.view().pods
        self._pods = {name: task for name, task in self._pods.items() if name in known or not task.done()}

    async def delete_all_pods(self) -> None:
        """Drain the machine."""
        await self._all_admitted()
        for name in self.pods():
            self.kubelet.delete_pod(name)

    async def _all_admitted(self) -> None:
        unfinished = [task for task in self._pods.values() if not task.done()]
        if unfinished:
            await asyncio.wait(unfinished, timeout=CONVERGES)
        for name, task in self._pods.items():
            if not task.done():
                self.broken.append(f"{name} was neither admitted nor refused")
            elif task.exception():
                raise BrokenError(f"{name}: {task.exception()!r}") from task.exception()

    # -- cards ----------------------------------------------------------------------------------------------------

    def card(self, number: int) -> FakeCard:
        """A card that something is about to happen to."""
        card = self.host.cards[number % len(self.host.cards)]
        self.watch.touch(card)
        return card

    def held_card(self, number: int) -> FakeCard | None:
        """A card that a live pod holds units of; None if there is none."""
        keys = sorted({holder.card for holder in self.held})
        if not keys:
            return None
        card = self.watch.card(keys[number % len(keys)])
        self.watch.touch(card)
        return card

    def disappear(self, card: FakeCard) -> None:
        """Take the card off the bus."""
        if card.present:
            card.disappear()
            self.watch.files_changed(card)

    def reappear(self, card: FakeCard) -> None:
        """Bring the card back."""
        if not card.present:
            card.reappear()
            self.watch.files_changed(card)

    def renumber(self, card: FakeCard) -> None:
        """Let the card come back under a number that no card had, as after a rescan of the bus.

        Only a card that the plugin knows, and whose identity nothing has hidden lately: else nothing tells which card
        it is.
        """
        is_hidden = any((key_of(card), name) in self._attributes for name in _IDENTITY)
        was_hidden = time.monotonic() - self._hidden.get(id(card), 0.0) < LAG
        if self.watch.has_listed(card) and not (is_hidden or was_hidden):
            self.repair(card)
            self.host.renumber(card, self.watch.free_number(card.plan.arch))
            self.watch.renumbered(card)
            self._renumbered.add(id(card))

    def remove_file(self, card: FakeCard, suffix: str) -> None:
        """Take away a device file, if cards of the family have one of that name."""
        if suffix in all_suffixes(card.plan.spec):
            card.remove_file(suffix)
            self.watch.files_changed(card)

    def restore_file(self, card: FakeCard, suffix: str) -> None:
        """Bring back a device file, if cards of the family have one of that name."""
        if suffix in all_suffixes(card.plan.spec):
            card.restore_file(suffix)
            self.watch.files_changed(card)

    def load_driver(self, card: FakeCard, late: tuple[str, ...], pause: float) -> None:
        """Let the card come back with some of its device files; the late ones follow one after another."""
        self.disappear(card)
        for suffix in late:
            self.remove_file(card, suffix)
        self.reappear(card)
        task = asyncio.get_running_loop().create_task(self._make_files(card, late, pause))
        self._drivers.add(task)
        task.add_done_callback(self._drivers.discard)

    async def _make_files(self, card: FakeCard, suffixes: tuple[str, ...], pause: float) -> None:
        for suffix in suffixes:
            await asyncio.sleep(pause)
            self.restore_file(card, suffix)

    def spoil(self, card: FakeCard, name: str, text: str | None) -> None:
        """Let an attribute say this, if cards of the family have it; None lets readers block.

        What a renumbered card is known by stays: a card that changes both its number and its identity is another card.
        """
        if not card.present or name not in mgmt_attributes(card.plan):
            return
        if name in _IDENTITY:
            if id(card) in self._renumbered:
                return
            self._hidden[id(card)] = time.monotonic()
        self._attributes.add((key_of(card), name))
        if text is None:
            card.hang(name)
        else:
            card.set_attribute(name, text)

    def damage(self, card: FakeCard, name: str, breakage: Breakage) -> None:
        """Let something else than an attribute be in its place."""
        if card.present:
            self._attributes.add((key_of(card), name))
            # Whoever waits for it to answer would wait for ever.
            card.set_attribute(name, mgmt_attributes(card.plan)[name])
            breakage(mgmt_file(self.host, card, name))

    @property
    def spoiled(self) -> set[CardKey]:
        """The cards of which an attribute is not what it should be."""
        return {key for key, _ in self._attributes}

    def repair(self, card: FakeCard) -> None:
        """Let every attribute of the card say what it should."""
        right = mgmt_attributes(card.plan)
        for key, name in sorted(self._attributes):
            if key == key_of(card):
                card.set_attribute(name, right[name])
                if name in _IDENTITY:
                    self._hidden[id(card)] = time.monotonic()
        self._attributes = {(key, name) for key, name in self._attributes if key != key_of(card)}

    # -- the configuration ----------------------------------------------------------------------------------------

    def write_config(self, wish: Wish) -> None:
        """Let the configuration file wish for this."""
        self.wish = wish
        self.watch.wishes(wish)
        self.write_config_text(
            json.dumps(
                {
                    "interval": self.setup.interval,
                    "defaultPe": str(wish.default_pe),
                    "disabledDevices": [{"devName": entry.name} for entry in wish.disabled],
                    "pluginDir": str(self.plugin_dir),
                    "podResourcesSocket": str(self.home / "r" / "kubelet.sock"),
                    "listenAddress": self.setup.listen,
                },
                indent=2,
            )
        )

    def write_config_text(self, text: str) -> None:
        """Replace the configuration file at once, as the kubelet does."""
        scratch = self.home / ".config"
        scratch.write_text(text)
        scratch.replace(self.config_file)

    # -- invariants -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """After a step: everything that held before must hold now.

        Raises:
            BrokenError: if it does not.
        """
        self.watch.check()
        if not self.plugin.running:
            self.broken.append("the plugin has ended")
        for plugin in self.plugins:
            self.broken.extend(line for line in plugin.log if line.startswith("Traceback"))
        if self.broken:
            raise BrokenError("\n".join(self.broken))

    # -- the end --------------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """Undo every fault, wait until everything is as it should be, and end.

        Raises:
            BrokenError: if it does not become so, in time.
        """
        await self.recover()
        await self._fill()
        await self._stop_plugin_in_order()
        if self.broken:
            raise BrokenError("\n".join(self.broken))

    async def recover(self) -> None:
        """Undo every fault, and wait until everything is as it should be.

        Raises:
            BrokenError: if it does not become so, in time.
        """
        await self._heal_cards()
        self.write_config(self.wish)
        self._close_foreign()
        await self.start_api_server()
        await self._heal_kubelet()
        await self._all_admitted()
        await self._converge(strict=self.setup.thorough)
        self.check()

    async def _heal_cards(self) -> None:
        while lasting := self._drivers | self._lacks:
            await asyncio.wait(lasting)
        for card in self.host.cards:
            self.repair(card)
            card.revive()
            for suffix in sorted(card._absent & set(all_suffixes(card.plan.spec))):
                self.restore_file(card, suffix)
            self.reappear(card)

    async def _heal_kubelet(self) -> None:
        """Let there be a kubelet that does everything right."""
        self.kubelet._machine.faults.refusals.clear()
        # A kubelet that holds on to a dead connection has to be restarted. The setup may ask for any restart.
        if self.frozen or self.setup.restart_at_end:
            await self.stop_kubelet()
        if self.slow:
            await self.read_slowly(0.0)
        await self.start_kubelet()
        await self.kubelet.set_pod_resources(PodResourcesBehaviour())

    def _close_foreign(self) -> None:
        for each in self.foreign:
            each.close()
        self.foreign.clear()

    async def _converge(self, *, strict: bool) -> None:
        """Wait until everything is as it should be and stays so: what is lost is noticed at the next pulse only."""
        since = time.monotonic()
        deadline = since + self.setup.converges
        while (now := time.monotonic()) < since + STAYS:
            if problems := tuple(self._differences(self.kubelet.view(), strict=strict)):
                since = now
                if now > deadline:
                    self.broken.extend(("not healed in time", *problems))
            self.check()
            await asyncio.sleep(0.05)

    def _differences(self, view: NodeView, *, strict: bool) -> Iterator[str]:
        for resource in self.watch.names.values():
            if not _answers(self._registered_socket(resource)):
                yield f"nobody listens at the socket of {resource}"
            if view.streams(resource) != 1:
                yield f"{view.streams(resource)} streams of {resource}"
            if view.allocatable(resource) != len(view.healthy(resource)):
                yield f"{view.allocatable(resource)} allocatable of {len(view.healthy(resource))} healthy {resource}"
        for resource in view.resources.keys() - set(self.watch.names.values()):
            if view.streams(resource) or view.healthy(resource):
                yield f"{resource} is no family's, and there is {view.resources[resource]}"
        yield from self.watch.differences(view, self.wish, strict=strict)

    def _registered_socket(self, resource: str) -> Path:
        events = self.kubelet.events_of(EventKind.REGISTER_REQUEST, resource)
        return Path(events[-1].socket) if events else self.plugin_dir / _SOCKET

    async def _fill(self) -> None:
        """Everything that is offered can be had."""
        view = self.kubelet.view()
        for number, resource in enumerate(sorted(self.watch.names.values())):
            free = len(view.healthy(resource) - view.in_use(resource))
            if free:
                try:
                    await asyncio.wait_for(self.kubelet.run_pod(f"last{number}", {resource: free}), CONVERGES)
                except (PodError, KubeletPanickedError, TimeoutError) as error:
                    self.broken.append(f"{free} of {resource} are free, and a pod does not get them: {error!r}")
        self.check()


def _get(address: str) -> tuple[int, str]:
    """Status and text of a page; 0 if nobody listens. Somebody who listens and does not answer has no status."""
    try:
        with urllib.request.urlopen(address, timeout=_ANSWERS) as answer:  # noqa: S310  # the loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except TimeoutError:
        return -1, f"no answer within {_ANSWERS} s"
    except OSError as error:
        reason = getattr(error, "reason", error)
        return (-1, f"no answer within {_ANSWERS} s") if isinstance(reason, TimeoutError) else (0, str(error))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(path))
        except OSError:
            return False
    return True
