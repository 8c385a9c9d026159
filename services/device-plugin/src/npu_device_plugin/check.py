"""``k8s-device-plugin check``: what this host would offer, and what a container would get. Looks once."""

import json
from dataclasses import dataclass

from npu_core.device import Inventory
from npu_core.health import judge
from npu_core.host import Host
from npu_device_plugin.grants import grant
from npu_device_plugin.inventory import Fleet, Offer, OfferedUnit, offers
from npu_device_plugin.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at the host gives.

    Attributes:
        resources: each resource's name and its offer.
        inventory: the cards as they were found.
    """

    resources: tuple[tuple[str, Offer], ...]
    inventory: Inventory


def examine(settings: Settings) -> Finding:
    """Look at the host once.

    Raises:
        HostError: if it cannot be listed.
    """
    host = Host(settings.sysfs, settings.devfs)
    inventory = host.inventory()
    fleet = Fleet().with_devices(inventory.devices)
    for device in inventory.devices:
        fleet = fleet.with_look(device.key, judge(host.vitals(device)), now=0.0)
    offered = offers(fleet, settings.default_pe, settings.disabled_here)
    names = [settings.resource_names.name(offer.arch, first=place == 0) for place, offer in enumerate(offered)]
    return Finding(tuple(zip(names, offered, strict=True)), inventory)


def as_json(finding: Finding) -> str:
    """The finding for programs."""
    return json.dumps(
        {
            "resources": [
                {"name": name, "family": offer.arch, "units": [_unit_document(unit) for unit in offer.units]}
                for name, offer in finding.resources
            ],
            "rejected": [
                {"card": card.name, "family": card.arch, "reason": card.reason} for card in finding.inventory.rejected
            ],
            "unreadable": [
                {"card": item.card, "attribute": item.subject, "reason": item.reason, "detail": item.detail}
                for item in finding.inventory.unreadable
            ],
        },
        indent=2,
    )


def _unit_document(offered: OfferedUnit) -> dict[str, object]:
    granted = grant([offered.unit])
    return {
        "id": offered.unit.id,
        "health": "Healthy" if offered.healthy else "Unhealthy",
        "reasons": list(offered.objections),
        "numa_node": offered.unit.device.numa_node,
        "pci": str(offered.unit.device.pci) if offered.unit.device.pci else None,
        "environment": dict(granted.environment),
        "devices": list(granted.paths),
    }


def as_text(finding: Finding) -> str:
    """The finding for people."""
    lines: list[str] = []
    for name, offer in finding.resources:
        healthy = sum(unit.healthy for unit in offer.units)
        lines.append(f"{name}: {len(offer.units)} units, {healthy} healthy ({offer.arch})")
        for unit in offer.units:
            lines.extend(_unit_lines(unit))
    if not finding.resources:
        lines.append("no NPU found: nothing would be offered")
    lines.extend(f"not offered: {card.name} ({card.arch}): {card.reason}" for card in finding.inventory.rejected)
    lines.extend(f"unreadable: {item}" for item in finding.inventory.unreadable)
    return "\n".join(lines)


def _unit_lines(offered: OfferedUnit) -> list[str]:
    unit, granted = offered.unit, grant([offered.unit])
    node = "-" if unit.device.numa_node is None else unit.device.numa_node
    state = "Healthy" if offered.healthy else f"Unhealthy: {'; '.join(offered.objections)}"
    return [
        f"  {unit.id:<12} NUMA {node:<3} PCI {unit.device.pci or '-'}  {state}",
        f"    env      {' '.join(f'{key}={value}' for key, value in granted.environment)}",
        f"    devices  {' '.join(granted.paths)}",
    ]
