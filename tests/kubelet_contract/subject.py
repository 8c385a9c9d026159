"""What a scenario needs of a kubelet, whether the kubelet is a stand-in or a real one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from testkit.waiting import PATIENCE

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Units:
    """What the node's status says of one resource.

    Attributes:
        allocatable: healthy units, those in use included.
        capacity: all units, unhealthy ones included.
        named: whether the status names the resource at all.
    """

    allocatable: int = 0
    capacity: int = 0
    named: bool = False


@dataclass(frozen=True, slots=True)
class PodState:
    """What became of a pod.

    Attributes:
        phase: ``Pending``, ``Running``, ``Succeeded`` or ``Failed``; empty if there is no such pod.
        reason: why the pod is Failed; empty if the pod is not.
        message: the same in the kubelet's words.
    """

    phase: str
    reason: str = ""
    message: str = ""

    @property
    def refused(self) -> bool:
        """Whether the kubelet did not admit the pod."""
        return self.phase == "Failed" and bool(self.reason)


class Kubelet(Protocol):
    """A kubelet on a node of its own. Pods come to the kubelet without a scheduler."""

    minor: int
    """The release that it behaves as: 37 for 1.37."""
    resource: str
    """The resource of the scenario; no other scenario uses the name."""
    plugin_dir: Path
    """The directory of device plugins, as the test process sees the directory."""
    pod_resources: Path
    """The socket of PodResources, as the test process sees the socket."""

    @property
    def registers_at(self) -> Path:
        """The directory of device plugins, as the kubelet names the directory in its messages."""

    async def run(
        self, name: str, main: int, *, init: int | None = None, sidecar: int | None = None, restarts: bool = False
    ) -> PodState:
        """Give the kubelet a pod, and wait until its first container runs or the pod is refused.

        Args:
            name: of the pod.
            main: units that the container ``main`` asks for. The container runs until :meth:`finish`.
            init: units of the init container ``init``, which runs until :meth:`finish`; none such if None. The
                stand-in lets init containers end at once.
            sidecar: units of the container ``sidecar``, an init container that runs as long as the pod; none if None.
            restarts: whether ``main`` starts again after its end.
        """

    async def finish(self, name: str, container: str) -> None:
        """Let a container end well, and wait until the kubelet has seen the end."""

    async def start_again(self, name: str) -> PodState:
        """Let ``main`` of a pod end that restarts, and wait until it runs again or the pod is refused."""

    async def delete(self, name: str) -> None:
        """Delete a pod, and wait until the pod is gone."""

    async def pod(self, name: str) -> PodState:
        """A pod as it is now."""

    async def uid(self, name: str) -> str:
        """The uid of a pod."""

    async def units_variable(self, name: str) -> str:
        """What the variable ``UNITS`` of a pod's running ``main`` is; empty if the pod has none."""

    async def units(self) -> Units:
        """The node's status of :attr:`resource`."""

    async def stop(self) -> None:
        """End the kubelet in order; containers run on."""

    async def kill(self) -> None:
        """End the kubelet by SIGKILL; containers run on."""

    async def start(self, policy: str = "none") -> None:
        """Start the kubelet; returns when kubelet.sock answers.

        Args:
            policy: of the topology manager.
        """

    async def stop_api_server(self) -> None:
        """Take the API server away."""

    async def start_api_server(self) -> None:
        """Bring the API server back; returns when the API server answers."""

    async def lives(self) -> bool:
        """Whether the kubelet's process is there."""

    async def panics(self) -> int:
        """How often the kubelet has died of a panic."""


async def until(look: Callable[[], Awaitable[_Value]], what: str) -> _Value:
    """The first answer that is true.

    Raises:
        AssertionError: if none is in time; says what was waited for, and the last answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not (seen := await look()):
        if loop.time() > deadline:
            raise AssertionError(f"not within {PATIENCE:g} s: {what}; instead: {seen}")
        await asyncio.sleep(0.1)
    return seen


async def until_units(kubelet: Kubelet, allocatable: int, capacity: int) -> None:
    """Wait until the node's status has so many units."""
    seen = Units()

    async def there() -> bool:
        nonlocal seen
        seen = await kubelet.units()
        return (seen.allocatable, seen.capacity) == (allocatable, capacity)

    try:
        await until(there, "")
    except AssertionError:
        raise AssertionError(f"not {allocatable} allocatable units of {capacity}, but {seen}") from None
