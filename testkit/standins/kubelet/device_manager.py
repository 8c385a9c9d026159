"""What the device manager knows of resources and of the endpoints behind them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from testkit.standins.kubelet.errors import RefusedError
from testkit.standins.kubelet.values import Listing, PluginDevice, PluginOptions, listing_of


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One registration of one plugin."""

    resource: str
    socket: str
    """"" for a resource known from the checkpoint alone."""
    serial: int
    """Tells two registrations apart; 0 for one known from the checkpoint alone."""
    options: PluginOptions = field(default_factory=PluginOptions)
    stopped_at: float | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the node's status says of a resource."""

    capacity: int = 0
    allocatable: int = 0


class DeviceManager:
    """Resources, their devices and their endpoints, in memory: a kubelet process' own.

    Args:
        keyed_by_socket: Whether several sockets of one resource live side by side (generation C); otherwise
            the last to register replaces the others.
        grace: Seconds for which a resource outlives its last endpoint.
    """

    def __init__(self, *, keyed_by_socket: bool, grace: float) -> None:
        self._keyed_by_socket = keyed_by_socket
        self._grace = grace
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._listings: dict[str, Listing] = {}

    @property
    def listings(self) -> Mapping[str, Listing]:
        """Every known resource. Registering alone does not make one known: its first message does."""
        return self._listings

    def restore(self, resources: Iterable[str], now: float) -> None:
        """Take over the checkpoint's resources: without devices, and stopped."""
        for resource in resources:
            self._listings[resource] = Listing()
            self._endpoints[resource] = (Endpoint(resource, "", 0, stopped_at=now),)

    def connect(self, endpoint: Endpoint) -> None:
        """A plugin registered."""
        kept = self._running(endpoint.resource) if self._keyed_by_socket else ()
        others = tuple(other for other in kept if other.socket != endpoint.socket)
        self._endpoints[endpoint.resource] = (*others, endpoint)

    def endpoint(self, resource: str) -> Endpoint | None:
        """The one that calls go to: the last that registered."""
        endpoints = self._endpoints.get(resource, ())
        return endpoints[-1] if endpoints else None

    def serving(self, resource: str) -> Endpoint:
        """The endpoint of a resource, fit to be called.

        Raises:
            RefusedError: There is none, or it has been stopped.
        """
        endpoint = self.endpoint(resource)
        if endpoint is None:
            raise RefusedError(f"unknown Device Plugin {resource}")
        if endpoint.stopped_at is not None:
            raise RefusedError(f"endpoint {endpoint.socket or resource} has been stopped")
        return endpoint

    def serves(self, resource: str, socket: str) -> bool:
        """Whether a plugin on this socket counts as connected."""
        return any(one.socket == socket for one in self._running(resource))

    def is_current(self, endpoint: Endpoint) -> bool:
        """Whether this registration is the one in force."""
        current = self.endpoint(endpoint.resource)
        return current is not None and current.serial == endpoint.serial

    def update(self, resource: str, devices: Iterable[PluginDevice]) -> None:
        """A ListAndWatch message: replaces all that was known."""
        self._listings[resource] = listing_of(devices)

    def stop(self, endpoint: Endpoint, now: float) -> None:
        """An endpoint is gone. The last of a resource takes the health of its devices with it."""
        running = self._running(endpoint.resource)
        others = tuple(other for other in running if other.serial != endpoint.serial)
        if others:
            self._endpoints[endpoint.resource] = others
            return
        self._endpoints[endpoint.resource] = (replace(endpoint, stopped_at=now),)
        if endpoint.resource in self._listings:
            self._listings[endpoint.resource] = self._listings[endpoint.resource].all_unhealthy()

    def _running(self, resource: str) -> tuple[Endpoint, ...]:
        return tuple(one for one in self._endpoints.get(resource, ()) if one.stopped_at is None)

    def expire(self, now: float) -> tuple[str, ...]:
        """Forget the resources whose grace is over, as reading the capacity does; returns their names."""
        gone = tuple(resource for resource in self._listings if self._expired(resource, now))
        for resource in gone:
            del self._listings[resource]
            self._endpoints.pop(resource, None)
        return gone

    def _expired(self, resource: str, now: float) -> bool:
        endpoint = self.endpoint(resource)
        if endpoint is None:
            return True
        return endpoint.stopped_at is not None and now - endpoint.stopped_at > self._grace

    def capacities(self) -> dict[str, Capacity]:
        """Of every known resource. Devices in use count as allocatable, unhealthy ones do not."""
        return {
            resource: Capacity(len(listing.healthy) + len(listing.unhealthy), len(listing.healthy))
            for resource, listing in self._listings.items()
        }
