"""What plugins say, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api


@dataclass(frozen=True, slots=True)
class PluginDevice:
    """One entry of a ListAndWatch message."""

    id: str
    health: str
    numa: tuple[int, ...] | None = None
    """NUMA node numbers as sent; None when no topology was sent, () when it was empty."""

    @property
    def healthy(self) -> bool:
        """Exactly `Healthy`; any other text counts as unhealthy."""
        return self.health == "Healthy"


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """What a plugin asked for."""

    pre_start_required: bool = False
    preferred_allocation: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The devices of one resource. A device listed twice with different health is in both sets."""

    healthy: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()
    numa: Mapping[str, tuple[int, ...] | None] = field(default_factory=lambda: MappingProxyType({}))
    """Of every device, healthy or not."""

    def all_unhealthy(self) -> Listing:
        """The same devices once nobody vouches for them."""
        return Listing(frozenset(), self.healthy | self.unhealthy, self.numa)


def listing_of(devices: Iterable[PluginDevice]) -> Listing:
    """The sets one message stands for: it replaces everything said before."""
    sent = tuple(devices)
    return Listing(
        healthy=frozenset(device.id for device in sent if device.healthy),
        unhealthy=frozenset(device.id for device in sent if not device.healthy),
        numa=MappingProxyType({device.id: device.numa for device in sent}),
    )


def devices_of(message: api.ListAndWatchResponse) -> tuple[PluginDevice, ...]:
    """A message from the wire."""
    return tuple(PluginDevice(device.ID, device.health, _numa_of(device)) for device in message.devices)


def _numa_of(device: api.Device) -> tuple[int, ...] | None:
    if not device.HasField("topology"):
        return None
    return tuple(node.ID for node in device.topology.nodes)


def options_of(message: api.DevicePluginOptions) -> PluginOptions:
    """Options from the wire."""
    return PluginOptions(message.pre_start_required, message.get_preferred_allocation_available)
