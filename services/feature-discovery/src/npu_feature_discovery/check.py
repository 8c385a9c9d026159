"""What the labels will be made of: the machine and its cards, as one look finds them."""

from npu_core.device import Device
from npu_core.host import Host


def describe(host: Host) -> str:
    """The facts that node labels are made of, a line each.

    Raises:
        HostError: if the host cannot be read.
    """
    inventory, machine = host.inventory(), host.machine()
    lines = [f"machine: {machine.vendor or 'unknown vendor'}, {machine.name or 'unknown name'}"]
    lines.append(f"cards: {len(inventory.devices)}")
    lines.extend(_card(device) for device in inventory.devices)
    lines.extend(f"  {card.name} ({card.arch}) is left out: {card.reason}" for card in inventory.rejected)
    return "\n".join(lines)


def _card(device: Device) -> str:
    product, driver = device.product or "unknown product", device.driver or "unknown"
    return f"  {device.name}: {product} ({device.arch}), driver {driver}"
