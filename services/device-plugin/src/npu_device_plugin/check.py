"""``k8s-device-plugin check``: what this host would offer, and what a container would get. Looks once."""

import asyncio
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from npu_core.arch import Arch
from npu_core.device import Device, Rejected
from npu_core.errors import Unreadable
from npu_core.health import HealthState, HealthStatus
from npu_core.host import Host
from npu_device_plugin.allocation.disabled import UnknownDevice, unknown_devices
from npu_device_plugin.allocation.grants import grant
from npu_device_plugin.allocation.repartition import Cut
from npu_device_plugin.allocation.resource_state import KEPT, Offer, OfferedUnit, offers
from npu_device_plugin.counters import Counters
from npu_device_plugin.kubelet.allocation_tracker import AllocationTracker
from npu_device_plugin.kubelet.registration import registration_of
from npu_device_plugin.scanner import READ_DEADLINE, Scanner
from npu_device_plugin.settings import Settings

_OPEN_TO_ALL = stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class ClosedFile:
    """A device file that not everybody may open.

    Attributes:
        path: as containers see the file.
        mode: its permission bits.
    """

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What one look at the host gives.

    Attributes:
        resources: each resource's name and its offer.
        refused: the families that cannot be offered under the name and the socket they would have, and why.
        unknown: disabled devices that this host does not have.
        pending: cards that are not cut as the settings wish, because containers hold them.
        rejected: what looks like a card and is none of ours.
        unreadable: attributes of cards that could not be read.
        awaited: cards that are not offered yet, and the device files that their driver may still be making.
        unmapped: resource and id of what containers hold under ids that may mean any card.
        checkpoint: why the kubelet's checkpoint could not be read; empty if it could, or if there is none.
        closed: device files that pods with a user namespace (``hostUsers: false``) cannot open.
    """

    resources: tuple[tuple[str, Offer], ...]
    refused: tuple[tuple[Arch, str], ...]
    unknown: tuple[UnknownDevice, ...]
    pending: tuple[tuple[Device, Cut], ...]
    rejected: tuple[Rejected, ...]
    unreadable: tuple[Unreadable, ...]
    awaited: tuple[tuple[Device, tuple[str, ...]], ...] = ()
    unmapped: tuple[tuple[str, str], ...] = ()
    checkpoint: str = ""
    closed: tuple[ClosedFile, ...] = ()


def examine(settings: Settings) -> CheckReport:
    """Look at the host once; a card that hangs is waited for no longer than the daemon would.

    Raises:
        HostError: if it cannot be listed.
    """
    host = Host(settings.sysfs, settings.devfs)
    host.find()
    return asyncio.run(_examine(settings, Scanner(host, time.monotonic)))


async def _examine(settings: Settings, scanner: Scanner) -> CheckReport:
    await _look_twice(scanner)
    tracker = AllocationTracker(
        settings.pod_resources_socket, settings.plugin_dir, time.monotonic, Counters(), settings.node_name
    )
    await tracker.ask()
    tracker.look()
    names = tracker.resources = settings.resource_names.of_families(scanner.families, tracker.sources.claims)
    allocations = tracker.allocations(scanner.fleet.known_cards)
    scanner.settle(settings.default_pe, allocations)
    offered = offers(scanner.fleet, settings.default_pe, settings.disabled_here, allocations)
    objections = {arch: registration_of(settings, arch, names).objection for arch in names}
    return CheckReport(
        resources=tuple((names[offer.arch], offer) for offer in offered if not objections[offer.arch]),
        refused=tuple((arch, objection) for arch, objection in objections.items() if objection),
        unknown=unknown_devices(settings.disabled_devices, settings.node_name, scanner.fleet.numbered_cards),
        pending=tuple((card.device, card.cut) for card in scanner.fleet.pending if card.cut),
        rejected=scanner.rejected,
        unreadable=tuple(item for card in scanner.fleet.cards for item in card.device.unreadable),
        awaited=tuple((card.device, card.awaited) for card in scanner.fleet.unsettled),
        unmapped=allocations.unmapped,
        checkpoint=tracker.checkpoint_complaint,
        closed=tuple(_closed_files(offered, settings.devfs)),
    )


async def _look_twice(scanner: Scanner) -> None:
    await scanner.enumerate_cards()
    if scanner.is_waiting or any(_is_untold(card.health) for card in scanner.fleet.cards):
        await asyncio.sleep(READ_DEADLINE)  # for those that only are slow
        await scanner.look()


def _is_untold(health: HealthState) -> bool:
    """Whether the health of a card is not known yet. The health of a dead card is known."""
    return health.status is HealthStatus.UNKNOWN or health.unknown_since is not None


def _closed_files(offered: Iterable[Offer], devfs: str) -> Iterator[ClosedFile]:
    """The device files that containers would get, and that a user other than the host's root may not open."""
    paths = {path for offer in offered for unit in offer.units for path in grant([unit.unit]).paths}
    for path in sorted(paths):
        try:
            mode = stat.S_IMODE(os.stat(f"{devfs.rstrip('/')}/{path.removeprefix('/dev/')}").st_mode)  # noqa: PTH116
        except OSError:
            continue  # a missing file makes its unit unhealthy, and the unit's line says so
        if mode & _OPEN_TO_ALL != _OPEN_TO_ALL:
            yield ClosedFile(path, mode)


def as_json(finding: CheckReport) -> str:
    """The finding for programs."""
    return json.dumps(
        {
            "resources": [
                {
                    "name": name,
                    "family": offer.arch,
                    "units": [_unit_document(unit) for unit in offer.units],
                    "kept": [{"id": kept.id, "numa_node": kept.numa_node} for kept in offer.kept],
                }
                for name, offer in finding.resources
            ],
            "refused": [{"family": arch, "reason": reason} for arch, reason in finding.refused],
            "unknown": [
                {"entry": unknown.entry, "device": unknown.name, "expected": unknown.expected}
                for unknown in finding.unknown
            ],
            "pending": [
                {"card": device.name, "family": device.arch, "units": str(cut.partitioning), "reason": cut.pending}
                for device, cut in finding.pending
            ],
            "rejected": [{"card": card.name, "family": card.arch, "reason": card.reason} for card in finding.rejected],
            "unreadable": [
                {"card": item.card, "attribute": item.subject, "reason": item.reason, "detail": item.detail}
                for item in finding.unreadable
            ],
            "awaited": [
                {"card": device.name, "family": device.arch, "files": list(files)} for device, files in finding.awaited
            ],
            "unmapped": [{"resource": resource, "id": device_id} for resource, device_id in finding.unmapped],
            "checkpoint": finding.checkpoint or None,
            "closed": [{"path": file.path, "mode": f"{file.mode:04o}"} for file in finding.closed],
        },
        indent=2,
    )


def _unit_document(offered: OfferedUnit) -> dict[str, object]:
    granted = grant([offered.unit])
    return {
        "id": offered.unit.id,
        "health": "Healthy" if offered.healthy else "Unhealthy",
        "reasons": list(offered.objections),
        "numa_node": offered.numa_node,
        "pci": str(offered.unit.device.pci) if offered.unit.device.pci else None,
        "environment": dict(granted.environment),
        "devices": list(granted.paths),
    }


def as_text(finding: CheckReport) -> str:
    """The finding for people."""
    lines: list[str] = []
    for name, offer in finding.resources:
        healthy = sum(unit.healthy for unit in offer.units)
        lines.append(f"{name}: {len(offer.units)} units, {healthy} healthy ({offer.arch})")
        for unit in offer.units:
            lines.extend(_unit_lines(unit))
        lines.extend(f"  {_plain(kept.id):<12} Unhealthy: {KEPT}" for kept in offer.kept)
    lines.extend(f"not offered: {arch} cards: {reason}" for arch, reason in finding.refused)
    if not finding.resources and not finding.refused:
        lines.append("no NPU found: nothing would be offered")
    lines.extend(
        f"pending: {device.name} ({device.arch}) keeps its {cut.partitioning} units: {cut.pending}"
        for device, cut in finding.pending
    )
    lines.extend(f"not offered: {card.name} ({card.arch}): {card.reason}" for card in finding.rejected)
    lines.extend(str(unknown) for unknown in finding.unknown)
    lines.extend(f"unreadable: {item}" for item in finding.unreadable)
    lines.extend(
        f"not whole yet: {device.name} ({device.arch}) lacks the device files {', '.join(files)}"
        for device, files in finding.awaited
    )
    lines.extend(
        f"may be in use: a container holds {device_id!r} of {resource}, which may mean any card; no unit is given out"
        for resource, device_id in finding.unmapped
    )
    if finding.checkpoint:
        lines.append(f"cannot tell what containers hold: {finding.checkpoint}")
    for mode in sorted({file.mode for file in finding.closed}):
        files = " ".join(file.path for file in finding.closed if file.mode == mode)
        lines.append(f"mode {mode:04o}: pods with hostUsers: false cannot open {files}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """An id that another plugin chose, so that it cannot end its line or speak to the terminal."""
    return text if text.isprintable() else repr(text)


def _unit_lines(offered: OfferedUnit) -> list[str]:
    unit, granted = offered.unit, grant([offered.unit])
    node = "-" if offered.numa_node is None else offered.numa_node
    state = "Healthy" if offered.healthy else f"Unhealthy: {'; '.join(offered.objections)}"
    return [
        f"  {unit.id:<12} NUMA {node:<3} PCI {unit.device.pci or '-'}  {state}",
        f"    env      {' '.join(f'{key}={value}' for key, value in granted.environment)}",
        f"    devices  {' '.join(granted.paths)}",
    ]
