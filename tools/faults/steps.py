"""Everything that may happen to a machine, each a value: printed, drawn and applied alike.

A step that cannot happen at the moment (a pod deleted where there is none) does nothing. Cards and pods are meant by a
number, modulo how many there are.
"""

import asyncio
import socket
from dataclasses import dataclass, replace
from typing import Protocol

from npu_core.partition import Partitioning
from testkit.standins.kubelet import (
    Cut,
    Generation,
    Phase,
    PodResourcesBehaviour,
    PodResourcesMode,
    StreamPlan,
    WipeRule,
)
from tools.faults.invariants import Disabled
from tools.faults.world import Ask, Shape, World


class Step(Protocol):
    """One thing that happens."""

    async def apply(self, world: World) -> None:
        """Let it happen."""
        ...


# -- the kubelet ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RestartKubelet:
    """In order; perhaps upgraded or downgraded, perhaps without its checkpoint, on a machine that was drained."""

    away: float
    keep_checkpoint: bool
    generation: Generation

    async def apply(self, world: World) -> None:
        await world.stop_kubelet()
        if not self.keep_checkpoint:
            await world.forget_checkpoint()
        await asyncio.sleep(self.away)
        world.kubelet._machine.settings = replace(world.kubelet.settings, generation=self.generation)
        await world.start_kubelet()


@dataclass(frozen=True, slots=True)
class KillKubelet:
    """It leaves its sockets; a new one is there after a while."""

    how: Cut
    away: float

    async def apply(self, world: World) -> None:
        await world.stop_kubelet(self.how)
        await asyncio.sleep(self.away)
        await world.start_kubelet()


@dataclass(frozen=True, slots=True)
class StopKubelet:
    """There is none until a later step needs one."""

    async def apply(self, world: World) -> None:
        await world.stop_kubelet()


@dataclass(frozen=True, slots=True)
class StartKubelet:
    """If there is none."""

    async def apply(self, world: World) -> None:
        await world.start_kubelet()


@dataclass(frozen=True, slots=True)
class StopApiServer:
    """No pod comes and none is deleted; a kubelet that is started meanwhile knows no pods."""

    async def apply(self, world: World) -> None:
        world.kubelet.stop_api_server()


@dataclass(frozen=True, slots=True)
class StartApiServer:
    """A kubelet that was started without it hears of its pods."""

    async def apply(self, world: World) -> None:
        await world.start_api_server()


@dataclass(frozen=True, slots=True)
class WipeDirectory:
    """Under a kubelet that runs; with its own socket, it is restarted afterwards."""

    rule: WipeRule
    own_socket: bool

    async def apply(self, world: World) -> None:
        world.kubelet.wipe(self.rule, own_socket=self.own_socket)
        if self.own_socket:
            await asyncio.sleep(0.2)
            await world.stop_kubelet(Cut.RESET)
            await world.start_kubelet()


@dataclass(frozen=True, slots=True)
class CutStream:
    """The kubelet's socket stays as it is."""

    how: Cut

    async def apply(self, world: World) -> None:
        await world.cut(self.how)


@dataclass(frozen=True, slots=True)
class CutNextStreams:
    """For a moment, every stream ends after its first messages."""

    messages: int
    how: Cut
    seconds: float

    async def apply(self, world: World) -> None:
        if world.slow or not world.kubelet_up:
            return
        world.kubelet.plan_streams(StreamPlan(messages=self.messages, then=self.how))
        await world.cut(self.how)
        await asyncio.sleep(self.seconds)
        world.kubelet.plan_streams(StreamPlan())
        # A stream that was begun meanwhile ends at a message to come.
        await world.cut(self.how)


@dataclass(frozen=True, slots=True)
class ReadSlowly:
    """The kubelet pauses before it reads each message; with 0 not any more."""

    pause: float

    async def apply(self, world: World) -> None:
        await world.read_slowly(self.pause)


@dataclass(frozen=True, slots=True)
class RefuseRegisters:
    """The next registrations fail, of which there is one now."""

    count: int

    async def apply(self, world: World) -> None:
        if world.kubelet_up:
            world.kubelet.fail_next_registers(self.count, "not now")
            await world.cut(Cut.CLOSE)


@dataclass(frozen=True, slots=True)
class PodResources:
    """How the kubelet tells who holds what, from now on."""

    behaviour: PodResourcesBehaviour

    async def apply(self, world: World) -> None:
        await world.set_pod_resources(self.behaviour)


# -- the plugin's socket and process ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeleteSocket:
    """Somebody cleans up."""

    number: int

    async def apply(self, world: World) -> None:
        world.socket(self.number).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ReplaceSocketByFile:
    """Somebody writes over it."""

    number: int

    async def apply(self, world: World) -> None:
        path = world.socket(self.number)
        path.unlink(missing_ok=True)
        path.write_text("not a socket\n")


@dataclass(frozen=True, slots=True)
class ReplaceSocketByForeign:
    """Another program listens there, and says nothing."""

    number: int

    async def apply(self, world: World) -> None:
        path = world.socket(self.number)
        path.unlink(missing_ok=True)
        other = socket.socket(socket.AF_UNIX)
        world.foreign.append(other)
        other.bind(str(path))
        other.listen()


@dataclass(frozen=True, slots=True)
class RestartPlugin:
    """Killed, or asked to end; another process takes its place."""

    kill: bool

    async def apply(self, world: World) -> None:
        await world.restart_plugin(kill=self.kill)


@dataclass(frozen=True, slots=True)
class LeaveLogUnread:
    """Nobody reads the plugin's log for a while, and the pipe is full; the plugin has something to say at once."""

    seconds: float

    async def apply(self, world: World) -> None:
        world.leave_log_unread()
        await world.cut(Cut.CLOSE)
        # Later than the plugin has noticed, which it says.
        await asyncio.sleep(0.3)
        await world.is_alive()
        world.read_log_again(self.seconds)


@dataclass(frozen=True, slots=True)
class RefuseThreads:
    """The system refuses the plugin threads for a while."""

    seconds: float

    async def apply(self, world: World) -> None:
        world.refuse_threads(self.seconds)
        await world.is_alive()


# -- cards ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Die:
    """The driver says so."""

    card: int

    async def apply(self, world: World) -> None:
        world.card(self.card).die()


@dataclass(frozen=True, slots=True)
class Revive:
    """The driver says so; whatever else was wrong with its attributes is over as well."""

    card: int

    async def apply(self, world: World) -> None:
        card = world.card(self.card)
        world.repair(card)
        card.revive()


@dataclass(frozen=True, slots=True)
class Disappear:
    """Off the bus."""

    card: int

    async def apply(self, world: World) -> None:
        world.disappear(world.card(self.card))


@dataclass(frozen=True, slots=True)
class Reappear:
    """Back on the bus."""

    card: int

    async def apply(self, world: World) -> None:
        world.reappear(world.card(self.card))


@dataclass(frozen=True, slots=True)
class LoseHeldCard:
    """A card that a pod holds falls off the bus, and a plugin takes over that never saw the card."""

    number: int
    kill: bool

    async def apply(self, world: World) -> None:
        if card := world.held_card(self.number):
            world.disappear(card)
            await world.restart_plugin(kill=self.kill)


@dataclass(frozen=True, slots=True)
class LoadDriver:
    """The card goes and comes back with some of its device files; the late ones follow one after another.

    Where the plugin is restarted too, as for an upgrade of the driver, it first sees the card without them.
    """

    card: int
    late: tuple[str, ...]
    pause: float
    restart_plugin: bool = False

    async def apply(self, world: World) -> None:
        world.load_driver(world.card(self.card), self.late, self.pause)
        if self.restart_plugin:
            await world.restart_plugin(kill=True)


@dataclass(frozen=True, slots=True)
class RenumberCard:
    """The card is back on the bus under another number, with its UUID, serial number and PCI address."""

    card: int

    async def apply(self, world: World) -> None:
        world.renumber(world.card(self.card))


@dataclass(frozen=True, slots=True)
class SpoilAttribute:
    """It says something else; None lets its readers block."""

    card: int
    name: str
    text: str | None

    async def apply(self, world: World) -> None:
        world.spoil(world.card(self.card), self.name, self.text)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """A device file is not there any more."""

    card: int
    suffix: str

    async def apply(self, world: World) -> None:
        world.remove_file(world.card(self.card), self.suffix)


@dataclass(frozen=True, slots=True)
class RestoreFile:
    """A device file is there again."""

    card: int
    suffix: str

    async def apply(self, world: World) -> None:
        world.restore_file(world.card(self.card), self.suffix)


@dataclass(frozen=True, slots=True)
class RenumberHwmon:
    """The driver of the sensors was loaded anew."""

    card: int

    async def apply(self, world: World) -> None:
        card = world.card(self.card)
        if card.present:
            card.renumber_hwmon()


# -- the configuration ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CutCards:
    """``defaultPe`` is another one."""

    default_pe: Partitioning

    async def apply(self, world: World) -> None:
        world.write_config(replace(world.wish, default_pe=self.default_pe))


@dataclass(frozen=True, slots=True)
class Disable:
    """``disabledDevices`` has exactly these entries."""

    entries: tuple[Disabled, ...]

    async def apply(self, world: World) -> None:
        world.write_config(replace(world.wish, disabled=self.entries))


@dataclass(frozen=True, slots=True)
class BadConfig:
    """A configuration that nobody can go by; None takes the file away."""

    text: str | None

    async def apply(self, world: World) -> None:
        await world.plugin_has_started()
        if self.text is None:
            world.config_file.unlink(missing_ok=True)
        else:
            world.write_config_text(self.text)


# -- pods -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartPod:
    """It may be refused."""

    units: int
    shape: Shape = Shape.MAIN
    ask: Ask = Ask.FIRST

    async def apply(self, world: World) -> None:
        await world.start_pod(self.units, self.shape, self.ask)


@dataclass(frozen=True, slots=True)
class FinishPod:
    """All its containers end by themselves; the plugin is not told, and the pod stays known until it is deleted."""

    pod: int
    phase: Phase

    async def apply(self, world: World) -> None:
        if names := world.pods():
            world.finish_pod(names[self.pod % len(names)], self.phase)


@dataclass(frozen=True, slots=True)
class DeletePod:
    """The plugin is not told."""

    pod: int

    async def apply(self, world: World) -> None:
        if names := world.pods():
            world.delete_pod(names[self.pod % len(names)])


@dataclass(frozen=True, slots=True)
class RestartContainer:
    """With what it was given before, as the kubelet remembers it."""

    pod: int

    async def apply(self, world: World) -> None:
        if names := world.pods():
            await world.restart_container(names[self.pod % len(names)])


def served(delay: float = 0.0) -> PodResources:
    """PodResources that answers after a while."""
    return PodResources(PodResourcesBehaviour(delay=delay))


def not_served(mode: PodResourcesMode) -> PodResources:
    """PodResources that does not answer."""
    return PodResources(PodResourcesBehaviour(mode))
