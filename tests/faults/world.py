"""A machine on which everything may go wrong: cards, a stand-in kubelet, the real plugin, and pods that come and go."""

import asyncio
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import TracebackType
from typing import Self

from contract.attribute_files import Breakage, mgmt_file
from contract.plugin import PluginProcess
from faults.invariants import (
    Disabled,
    Expected,
    double_holds,
    grant_problems,
    holder_problems,
    holders,
    listing_problems,
    units_of,
)
from npu_core.arch import ArchSpec
from npu_core.partition import FUSION, Partitioning, UnitId
from npu_core.testing import CardPlan, FakeCard, FakeHost
from npu_core.testing.layout import mgmt_attributes
from standins.kubelet import (
    Cut,
    Event,
    EventKind,
    Generation,
    KubeletSettings,
    NodeView,
    PodError,
    PodResourcesBehaviour,
    StandInKubelet,
    StreamPlan,
)

RESOURCE = "beta.furiosa.ai/npu"
INTERVAL = 0.3
"""Seconds between two enumerations of the plugin."""
CONVERGES = 5.0
"""Seconds from the end of the last fault until everything is as it should be."""
STAYS = 1.2
"""Seconds for which everything has to be so: the plugin's pulse, and some."""
BACK_OFF = 10.0
"""Seconds that the plugin may pause between two attempts with a kubelet that went on refusing it."""
SETTLE = 10.5
"""Seconds for which the plugin counts a unit as held that it has given out, whatever the kubelet lists; and some."""
ROOM = 0.4
"""Seconds that a pod waits for room before it tries all the same."""
LAG = 4.0
"""Seconds after which the plugin has surely seen a change, also behind a PodResources that does not answer."""
STARTED = 5.0
"""Seconds for a plugin to have looked at the cards; it is on a busy machine."""
STOPPED = 3.0
"""Seconds for it to end: two, and one for a busy machine."""


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
    """Whether the end waits until nothing counts as recently given out."""
    interval: float = INTERVAL
    """Seconds between two enumerations of the plugin."""
    listen: str = "off"
    """Where the plugin's endpoint is."""
    converges: float = CONVERGES
    """Seconds from the end of the last fault until everything is as it should be."""
    remembered: int | None = None
    """How many events the kubelet's journal keeps; None for all."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the configuration file says, as far as it changes."""

    default_pe: Partitioning = FUSION
    disabled: tuple[Disabled, ...] = ()


class World:
    """Used as ``async with World(setup) as world:``; the kubelet and the plugin run then.

    Attributes:
        broken: the invariants that did not hold so far, in words.
        wish: what the last right configuration says.
        kubelet_up: whether there is a kubelet.
        frozen: whether it may hang on to a connection on which nothing moves.
        slow: whether it reads so slowly that what it is told may be outdated.
    """

    def __init__(self, setup: Setup, listener: Callable[[Event], None] = lambda _: None) -> None:
        """A machine on which nothing runs yet; the listener is called with every event of the kubelet."""
        # tmp_path is too long for sockets.
        self.home = Path(tempfile.mkdtemp(prefix="f-"))
        self.setup = setup
        self.host = FakeHost(self.home / "host", *setup.cards)
        self.plugin_dir = self.home / "p"
        self.config_file = self.home / "config.yaml"
        self.kubelet = StandInKubelet(
            KubeletSettings(
                self.plugin_dir,
                generation=setup.generation,
                pod_resources_dir=self.home / "r",
                devfs=Path(self.host.devfs),
                dial_deadline=1.0,
                remembered=setup.remembered,
            ),
            self._on_event,
        )
        self._listener = listener
        self.broken: list[str] = []
        self.wish = Wish(setup.default_pe)
        self.kubelet_up = self.frozen = self.slow = False
        self.pod_resources = PodResourcesBehaviour()
        self.foreign: list[socket.socket] = []
        self.plugins: list[PluginProcess] = []
        self._wishes = [(0.0, self.wish)]
        self._touched: dict[int, float] = {}
        self._attributes: set[tuple[int, str]] = set()
        self._seen: set[int] = set()
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._pod_count = 0

    async def __aenter__(self) -> Self:
        self.write_config(self.wish)
        await self.start_kubelet()
        await self._start_plugin()
        await self._some_free(1, STARTED)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._pods.values():
            task.cancel()
        await asyncio.gather(*self._pods.values(), return_exceptions=True)
        self._close_foreign()
        if self.plugin.running:
            await self.plugin.stop(SIGKILL)
        await self.kubelet.aclose()
        shutil.rmtree(self.home)

    # -- the plugin -----------------------------------------------------------------------------------------------

    @property
    def plugin(self) -> PluginProcess:
        """The plugin that runs."""
        return self.plugins[-1]

    @property
    def socket(self) -> Path:
        """The plugin's socket."""
        return self.plugin_dir / "furiosa-npu"

    async def _start_plugin(self) -> None:
        self._seen.clear()
        self.plugins.append(PluginProcess.configured(self.host, self.config_file))
        await self.plugin.start()

    async def restart_plugin(self, *, kill: bool) -> None:
        """End the plugin and start another one.

        With pods on its units it is started where it can ask who they are: one that cannot has only the settings to go
        by. And it needs a right configuration, or it says so and ends.
        """
        self.write_config(self.wish)
        if self.held:
            await self.start_kubelet()
            await self.set_pod_resources(PodResourcesBehaviour())
        if kill:
            await self.plugin.stop(SIGKILL)
        else:
            await self._stop_plugin_in_order()
        # What it said last is read before it is forgotten who it knew.
        await asyncio.sleep(0.02)
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

    async def plugin_knows_holders(self) -> bool:
        """Wait until the plugin has asked who holds what; whether it has. Before, the kubelet is not to go away."""
        return not self.held or await self._logged("offering")

    # -- the kubelet ----------------------------------------------------------------------------------------------

    async def start_kubelet(self) -> None:
        """Let there be a kubelet."""
        if not self.kubelet_up:
            await self.kubelet.start()
            self.kubelet_up, self.frozen = True, False

    async def stop_kubelet(self, kill: Cut | None = None) -> None:
        """Let there be none: in order, or killed, with the plugin seeing that of it."""
        if not self.kubelet_up or not await self.plugin_knows_holders():
            return
        if kill is None:
            await self.kubelet.stop()
        else:
            await self.kubelet.kill(kill)
        self.kubelet_up = False

    async def forget_checkpoint(self) -> None:
        """Remove the checkpoint of a kubelet that is down. A kubelet without it gives every unit away again."""
        assert not self.kubelet_up
        await self.delete_all_pods()
        self.kubelet.checkpoint_path.unlink(missing_ok=True)

    async def cut(self, how: Cut) -> None:
        """End the kubelet's connections to the plugin."""
        if self.kubelet_up:
            self.frozen = self.frozen or how is Cut.FREEZE
            await self.kubelet.cut(RESOURCE, how)

    async def read_slowly(self, pause: float) -> None:
        """Let the kubelet pause before it reads each message; 0 lets it read at once again."""
        self.slow = True
        self.kubelet.plan_streams(StreamPlan(pause=pause))
        # A stream is read to its end as it was begun.
        await self.cut(Cut.CANCEL)
        self.slow = pause > 0

    async def set_pod_resources(self, behaviour: PodResourcesBehaviour) -> None:
        """Let PodResources behave so."""
        if await self.plugin_knows_holders():
            self.pod_resources = behaviour
            await self.kubelet.set_pod_resources(behaviour)

    # -- pods -----------------------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether a pod holds a unit."""
        return bool(holders(self.kubelet.view().pods.values()))

    def pods(self) -> list[str]:
        """The pods that are not over, and whose admission is."""
        pods = self.kubelet.view().pods.values()
        return [pod.name for pod in pods if not pod.phase.terminal and self._pods[pod.name].done()]

    async def start_pod(self, units: int) -> None:
        """Start a pod, at best when there is room; if the plugin does not answer soon, go on meanwhile."""
        if self.kubelet_up:
            await self._some_free(units, ROOM)
            self._pod_count += 1
            name = f"pod{self._pod_count}"
            await self._spawn(name, self._run_pod(name, units))

    async def _some_free(self, units: int, within: float) -> None:
        end = time.monotonic() + within
        while time.monotonic() < end:
            view = self.kubelet.view()
            if len(view.healthy(RESOURCE) - view.in_use(RESOURCE)) >= units:
                return
            await asyncio.sleep(0.02)

    async def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._pods[name] = task
        await asyncio.wait({task}, timeout=0.3)

    async def _run_pod(self, name: str, units: int) -> None:
        try:
            await self.kubelet.run_pod(name, {RESOURCE: units})
        except PodError:
            return  # whoever has no card to give may say so

    async def restart_container(self, name: str) -> None:
        """Start a pod's container once more."""
        if self.kubelet_up and self.kubelet.view().pod(name).running:
            await self._spawn(name, self._restart_container(name))

    async def _restart_container(self, name: str) -> None:
        try:
            await self.kubelet.restart_container(name)
        except PodError:
            return  # it may not keep a unit that is not healthy

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
        self._touched[card.plan.index] = time.monotonic()
        return card

    def spoil(self, card: FakeCard, name: str, text: str | None) -> None:
        """Let an attribute say this; None lets readers block."""
        if not card.present:
            return
        self._attributes.add((card.plan.index, name))
        if text is None:
            card.hang(name)
        else:
            card.set_attribute(name, text)

    def damage(self, card: FakeCard, name: str, breakage: Breakage) -> None:
        """Let something else than an attribute be in its place."""
        if card.present:
            self._attributes.add((card.plan.index, name))
            # Whoever waits for it to answer would wait for ever.
            card.set_attribute(name, mgmt_attributes(card.plan)[name])
            breakage(mgmt_file(self.host, card, name))

    @property
    def spoiled(self) -> set[int]:
        """The cards of which an attribute is not what it should be."""
        return {index for index, _ in self._attributes}

    def repair(self, card: FakeCard) -> None:
        """Let every attribute of the card say what it should."""
        right = mgmt_attributes(card.plan)
        for index, name in sorted(self._attributes):
            if index == card.plan.index:
                card.set_attribute(name, right[name])
        self._attributes = {(index, name) for index, name in self._attributes if index != card.plan.index}

    # -- the configuration ----------------------------------------------------------------------------------------

    def write_config(self, wish: Wish) -> None:
        """Let the configuration file wish for this."""
        self.wish = wish
        self._wishes.append((time.monotonic(), wish))
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

    def _disabled_lately(self) -> set[int]:
        """The cards that a configuration disables, or part of them, which the plugin may still go by."""
        now = time.monotonic()
        ends = [*(at for at, _ in self._wishes[1:]), now]
        lately = [wish for (_, wish), end in zip(self._wishes, ends, strict=True) if now - end < LAG]
        return {entry.index for wish in lately for entry in wish.disabled}

    # -- invariants -----------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        """Look at everything the kubelet is told, as it is told. Raising here would be the kubelet's error."""
        if event.kind is EventKind.LIST_MESSAGE:
            self.broken.extend(f"{problem} (told at {event.at:.3f})" for problem in self._message_problems(event))
        if event.kind is EventKind.POD_ADMITTED:
            admitted = self.kubelet.view().pod(event.pod).admitted
            assert admitted is not None
            self.broken.extend(f"{event.pod}: {each}" for each in grant_problems(admitted.main, self._spec))
            self.broken.extend(double_holds(holders(self.kubelet.view().pods.values())))
        self._listener(event)

    def _message_problems(self, event: Event) -> Iterator[str]:
        yield from listing_problems(event.devices, self._spec, self._indices)
        units = units_of(event.devices)
        listed = {unit.index for unit in units}
        # What is read late was true when it was sent.
        if not self.slow:
            disabled = self._disabled_lately()
            yield from (f"npu{index} is not listed any more" for index in self._seen - listed - disabled)
            yield from holder_problems(units, holders(self.kubelet.view().pods.values()), self._seen)
            if not units and (well := self._well() - disabled):
                yield f"an empty list, while there is npu{min(well)}"
        self._seen |= listed

    def _well(self) -> set[int]:
        """The cards that are there and that nothing has happened to for a while."""
        now = time.monotonic()
        return {
            card.plan.index
            for card in self.host.cards
            if card.present and now - self._touched.get(card.plan.index, 0.0) > LAG
        }

    @property
    def _spec(self) -> ArchSpec:
        return self.setup.cards[0].spec

    @property
    def _indices(self) -> tuple[int, ...]:
        return tuple(card.index for card in self.setup.cards)

    def check(self) -> None:
        """After a step: everything that held before must hold now.

        Raises:
            BrokenError: if it does not.
        """
        self.broken.extend(double_holds(holders(self.kubelet.view().pods.values())))
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
        self._heal_cards()
        self.write_config(self.wish)
        self._close_foreign()
        fresh = await self._heal_kubelet()
        since = time.monotonic()
        await self._converge(since + self.setup.converges + (0.0 if fresh else BACK_OFF), SETTLE)
        await self._all_admitted()
        if self.setup.thorough:
            grants = [event.at for event in self.kubelet.events_of(EventKind.ALLOCATE)]
            await self._converge(max((since, *grants)) + SETTLE + self.setup.converges, 0.0)
        self.check()

    def _heal_cards(self) -> None:
        for card in self.host.cards:
            self.repair(card)
            card.revive()
            for suffix in ("pe0", "pe1", "pe0-1", "_mgmt", "ch0", "mgmt"):
                if card.name + suffix in card.plan.file_names:
                    card.restore_file(suffix)
            if not card.present:
                card.reappear()

    async def _heal_kubelet(self) -> bool:
        """Let there be a kubelet that does everything right; whether it is another one than before."""
        self.kubelet._machine.faults.refusals.clear()
        await self._stop_kubelet_that_hangs()
        fresh = not self.kubelet_up
        if self.slow:
            await self.read_slowly(0.0)
        await self.start_kubelet()
        self.pod_resources = PodResourcesBehaviour()
        await self.kubelet.set_pod_resources(self.pod_resources)
        return fresh

    async def _stop_kubelet_that_hangs(self) -> None:
        """A kubelet that hangs on to what is dead has to be restarted; so is any, where the setup says so."""
        if self.kubelet_up and (self.frozen or self.setup.restart_at_end):
            await self.kubelet.stop()
            self.kubelet_up = False

    def _close_foreign(self) -> None:
        for each in self.foreign:
            each.close()
        self.foreign.clear()

    async def _converge(self, deadline: float, recently: float) -> None:
        """Wait until everything is as it should be and stays so: what is lost is noticed at the next pulse only."""
        since = time.monotonic()
        while (now := time.monotonic()) < since + STAYS:
            if problems := tuple(self._differences(self.kubelet.view(), recently)):
                since = now
                if now > deadline:
                    self.broken += ["not healed in time", *problems]
            self.check()
            await asyncio.sleep(0.05)

    def _differences(self, view: NodeView, recently: float) -> Iterator[str]:
        if not _answers(self.socket):
            yield "nobody listens at the plugin's socket"
        if view.streams(RESOURCE) != 1:
            yield f"{view.streams(RESOURCE)} streams"
        if view.allocatable(RESOURCE) != len(view.healthy(RESOURCE)):
            yield f"{view.allocatable(RESOURCE)} allocatable of {len(view.healthy(RESOURCE))} healthy"
        units = dict.fromkeys(map(UnitId.parse, view.unhealthy(RESOURCE)), False)
        units |= dict.fromkeys(map(UnitId.parse, view.healthy(RESOURCE)), True)
        for expected in self._expected(view, recently):
            yield from expected.problems(dict(sorted(units.items(), key=lambda item: str(item[0]))))

    def _expected(self, view: NodeView, recently: float) -> Iterator[Expected]:
        held = {holder.unit for holder in holders(view.pods.values())}
        recent = set(self._recent(recently)) - held
        for index in self._indices:
            yield Expected(
                self._spec,
                index,
                self.wish.default_pe,
                frozenset(unit.cores for unit in held if unit.index == index),
                frozenset(unit.cores for unit in recent if unit.index == index),
                self.wish.disabled,
            )

    def _recent(self, seconds: float) -> Iterable[UnitId]:
        since = time.monotonic() - seconds
        events = self.kubelet.events_of(EventKind.ALLOCATE)
        return (UnitId.parse(text) for event in events if event.at > since for text in event.ids)

    async def _fill(self) -> None:
        """Everything that is offered can be had."""
        view = self.kubelet.view()
        free = len(view.healthy(RESOURCE) - view.in_use(RESOURCE))
        if free:
            try:
                await asyncio.wait_for(self.kubelet.run_pod("last", {RESOURCE: free}), CONVERGES)
            except (PodError, TimeoutError) as error:
                self.broken.append(f"{free} units are free, and a pod does not get them: {error!r}")
        self.check()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(path))
        except OSError:
            return False
    return True
