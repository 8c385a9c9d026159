"""What the metrics will be made of: every value of every card, as one look finds them."""

from collections.abc import Callable, Iterator

from npu_core.device import Device
from npu_core.errors import HostError
from npu_core.host import Host


def describe(host: Host) -> str:
    """The values that metrics are made of, a line each; what cannot be read says why.

    Raises:
        HostError: if the cards cannot be listed.
    """
    inventory = host.inventory()
    lines = [f"cards: {len(inventory.devices)}"]
    for device in inventory.devices:
        lines.append(f"{device.name} ({device.arch})")
        lines.extend(f"  {line}" for line in _values(host, device))
    lines.extend(f"{card.name} ({card.arch}) is left out: {card.reason}" for card in inventory.rejected)
    return "\n".join(lines)


def _values(host: Host, device: Device) -> Iterator[str]:
    yield f"alive: {_attempt(lambda: str(int(host.alive(device))))}"
    yield f"uptime: {_attempt(lambda: f'{host.uptime(device)} s')}"
    yield f"errors: {_attempt(lambda: ', '.join(f'{each.kind} {each.count}' for each in host.errors(device)))}"
    readings = host.readings(device)
    yield from (f"{each.sensor.quantity} {each.sensor.label}: {each.value}" for each in readings.values)
    yield from (f"unreadable: {each}" for each in readings.unreadable)


def _attempt(read: Callable[[], str]) -> str:
    try:
        return read()
    except HostError as error:
        return f"unreadable ({error.detail})"
