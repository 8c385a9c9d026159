"""What kind of kubelet this is: its generation, its directories, its deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from testkit.standins.kubelet.topology import TopologyPolicy

MESSAGE_LIMIT = 4 * 1024 * 1024
"""Bytes; the kubelet's gRPC client reads no larger message."""


class Generation(StrEnum):
    """Kubelets that behave alike towards a plugin."""

    A = "A"
    """Up to 1.24: Register answers before it dials; the options come from the RegisterRequest."""
    B = "B"
    """1.25 to 1.36: Register dials and asks for the options; endpoints are keyed by resource."""
    C = "C"
    """From 1.37: as B, but endpoints are keyed by resource and socket, and duplicates are refused."""


class WipeRule(StrEnum):
    """What a starting kubelet removes from the plugin directory."""

    EVERYTHING = "everything"
    """All but directories and the checkpoint."""
    ONLY_SOCKETS = "only-sockets"


class OldStreamEnd(StrEnum):
    """What the end of a replaced plugin's stream does to the plugin that replaced it."""

    HARMLESS = "harmless"
    MARKS_UNHEALTHY = "marks-unhealthy"
    """The new endpoint counts as stopped though its stream lives on."""
    DISCONNECTS = "disconnects"
    """The new plugin's connection is closed."""


class Wire(StrEnum):
    """How the kubelet is connected to the plugins' sockets."""

    RELAYED = "relayed"
    """Through a private hop that can drop or freeze a connection as the death of a process would."""
    DIRECT = "direct"
    """Straight, for measurements; connections cannot be reset or frozen."""


@dataclass(frozen=True, slots=True)
class KubeletSettings:
    """One kubelet on one node. Fields that are None take the generation's default."""

    plugin_dir: Path
    """Where kubelet.sock and the plugins' sockets live. Socket paths must stay below 100 bytes."""
    generation: Generation = Generation.B
    pod_resources_dir: Path | None = None
    """Where the PodResources socket is served; None serves none."""
    devfs: Path | None = None
    """Stands for /dev when device files are looked up; None looks up nothing."""
    wipe_rule: WipeRule | None = None
    """Generation B had both rules; its default is that of the newer ones."""
    old_stream_end: OldStreamEnd | None = None
    """A race in real kubelets of generation B; its default here is that the new plugin loses it."""
    rechecks_held_devices: bool | None = None
    """Whether a container that has devices and does not run is refused when its pod is admitted once more, and one of
    the devices is not healthy (B, C)."""
    topology_policy: TopologyPolicy = TopologyPolicy.NONE
    dies_of_unlisted_holders: bool | None = None
    """Whether hints for a device that the plugin's list lacks are the kubelet's death (B from 1.34 on, and C)."""
    dies_of_unlisted_grants: bool = False
    """Whether a device that leaves the list between the kubelet's choice and the plugin's answer to Allocate is the
    kubelet's death, under every policy. Read in the source of 1.37; never seen, so only on demand."""
    numa_nodes: tuple[int, ...] = (0, 1)
    """The machine's NUMA nodes, ascending."""
    listen_delay: float = 0.0
    """Seconds between the wipe and kubelet.sock."""
    dial_deadline: float = 10.0
    """Seconds to wait for a plugin's socket to be ready."""
    pre_start_deadline: float = 30.0
    """Seconds for PreStartContainer."""
    status_interval: float = 0.0
    """Seconds of real time between two publications of the node's status, the first at the start, none while there
    is no API server. Real kubelets take ten. With 0 every change is there at once, API server or not."""
    stop_grace: float = 300.0
    """Seconds on `clock` for which a resource outlives its last stream."""
    container_back_off: float = 0.1
    """Seconds between two attempts to start a container. Real ones begin at ten."""
    message_limit: int = MESSAGE_LIMIT
    remembered: int | None = None
    """How many events the journal keeps, the newest ones; None for all."""
    wire: Wire = Wire.RELAYED
    seed: int = 0
    """Of everything a real kubelet leaves to Go's random map order."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; what the grace is measured with."""

    @property
    def wipes(self) -> WipeRule:
        """The rule in force."""
        default = WipeRule.EVERYTHING if self.generation is Generation.A else WipeRule.ONLY_SOCKETS
        return self.wipe_rule or default

    @property
    def on_old_stream_end(self) -> OldStreamEnd:
        """The behaviour in force."""
        default = OldStreamEnd.DISCONNECTS if self.generation is Generation.B else OldStreamEnd.HARMLESS
        return self.old_stream_end or default

    @property
    def rechecks_held(self) -> bool:
        """The behaviour in force."""
        if self.rechecks_held_devices is None:
            return self.generation is not Generation.A
        return self.rechecks_held_devices

    @property
    def dies_of_unlisted(self) -> bool:
        """The behaviour in force: without a policy nobody asks for hints."""
        if self.topology_policy is TopologyPolicy.NONE:
            return False
        if self.dies_of_unlisted_holders is None:
            return self.generation is not Generation.A
        return self.dies_of_unlisted_holders


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Seconds since some moment."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
