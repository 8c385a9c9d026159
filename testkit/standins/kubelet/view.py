"""The node at one moment: what conditions are written on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testkit.standins.kubelet.device_manager import Capacity
from testkit.standins.kubelet.journal import EventKind
from testkit.standins.kubelet.pods import PodView


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource, as the node's status and the device manager have it."""

    status: Capacity = field(default_factory=Capacity)
    published: bool = True
    """Whether the node's status names it."""
    healthy: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()
    in_use: frozenset[str] = frozenset()
    """What the next admission will not give away; it drops pods that are over first, if the kubelet knows its pods."""
    booked: frozenset[str] = frozenset()
    """What the device manager has in its books at this moment, pods that are over and not dropped yet included."""
    held: frozenset[str] = frozenset()
    """What containers of pods that are not over hold, whether or not the kubelet knows."""
    streams: int = 0
    """Open connections to its plugins."""


_NOTHING = ResourceView()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """The node. A resource nobody ever mentioned reads as empty sets and zeros."""

    running: bool
    """Whether there is a kubelet process. Without one the node's status stays as it was."""
    api_server_up: bool
    resources: Mapping[str, ResourceView]
    pods: Mapping[str, PodView]
    counts: Mapping[tuple[EventKind, str], int] = field(repr=False)
    checkpoint_writes: int

    def advertised(self, resource: str) -> bool:
        """Whether the node's status names it. Once it does it always will, as an explicit 0."""
        return resource in self.resources and self.resources[resource].published

    def capacity(self, resource: str) -> int:
        """Devices, healthy or not."""
        return self._of(resource).status.capacity

    def allocatable(self, resource: str) -> int:
        """Healthy devices, in use or not."""
        return self._of(resource).status.allocatable

    def healthy(self, resource: str) -> frozenset[str]:
        """Ids of healthy devices."""
        return self._of(resource).healthy

    def unhealthy(self, resource: str) -> frozenset[str]:
        """Ids of unhealthy devices."""
        return self._of(resource).unhealthy

    def in_use(self, resource: str) -> frozenset[str]:
        """Ids the next admission will not give away."""
        return self._of(resource).in_use

    def booked(self, resource: str) -> frozenset[str]:
        """Ids in the device manager's books: those of pods that are over too, until a List or an admission."""
        return self._of(resource).booked

    def held(self, resource: str) -> frozenset[str]:
        """Ids that containers of pods that are not over hold, whether or not the kubelet knows."""
        return self._of(resource).held

    def streams(self, resource: str) -> int:
        """Open connections to the plugins of a resource."""
        return self._of(resource).streams

    def registrations(self, resource: str) -> int:
        """Register calls, refused ones too: `kubelet_device_plugin_registration_total`."""
        return self.count(EventKind.REGISTER_REQUEST, resource)

    def messages(self, resource: str) -> int:
        """ListAndWatch messages."""
        return self.count(EventKind.LIST_MESSAGE, resource)

    def count(self, kind: EventKind, resource: str = "") -> int:
        """How often something happened."""
        return self.counts.get((kind, resource), 0)

    def pod(self, name: str) -> PodView:
        """A pod.

        Raises:
            KeyError: There is none of that name.
        """
        return self.pods[name]

    def __str__(self) -> str:
        """What a failed wait shows."""
        resources = [f"{name}: {resource}" for name, resource in self.resources.items()]
        pods = [f"pod {pod.name}: {pod.phase} {pod.reason} {pod.message}".rstrip() for pod in self.pods.values()]
        return "\n".join(("kubelet " + ("running" if self.running else "not running"), *resources, *pods))

    def _of(self, resource: str) -> ResourceView:
        return self.resources.get(resource, _NOTHING)
