"""The real device plugin beside the stand-in kubelet: how often and how much the kubelet is told, and writes."""

import asyncio
import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from testkit.services.node import RESOURCE, Node
from testkit.standins.kubelet import EventKind, PluginDevice
from testkit.waiting import PATIENCE
from tools.scale.hosts import plans
from tools.scale.measured import HostKind, KubeletCost

REST = 3.0
"""Seconds of rest that are watched: three pulses, and an enumeration each second."""
KINDS = tuple(HostKind(family, cards) for family in ("warboy", "renegade") for cards in (1, 8, 64))
CUTS = ("Fusion", "Single")
_AT_ONCE = 2
_CHECKSUM = 0xFFFFFFFF
"""As long as the kubelet's may be."""
_UID = "0b2e9d0c-7d6e-4c1a-9a35-3f1f7e5d2c84"
"""As long as a pod's uid is in a cluster."""


def measure(cases: Iterable[tuple[HostKind, str]]) -> tuple[KubeletCost, ...]:
    """Each of these hosts, with each cut. Takes about ten seconds a case, two at a time."""
    return asyncio.run(_all(tuple(cases)))


async def _all(cases: Sequence[tuple[HostKind, str]]) -> tuple[KubeletCost, ...]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(kind: HostKind, cut: str) -> KubeletCost:
        async with gate, Node(*plans(kind)) as node:
            return await _measure(node, kind, cut)

    return tuple(await asyncio.gather(*(one(*case) for case in cases)))


@dataclass(frozen=True, slots=True)
class _Count:
    """How often something happened until now."""

    registrations: int
    messages: int
    writes: int

    def since(self, before: "_Count") -> "_Count":
        return _Count(
            self.registrations - before.registrations, self.messages - before.messages, self.writes - before.writes
        )


def _count(node: Node) -> _Count:
    view = node.kubelet.view()
    return _Count(view.registrations(RESOURCE), view.messages(RESOURCE), view.checkpoint_writes)


async def _measure(node: Node, kind: HostKind, cut: str) -> KubeletCost:
    await node.up("--default-pe", cut, "--listen-address", "off")
    start, units, empty = _count(node), node.listed(), _checkpoint_bytes(node)
    await asyncio.sleep(REST)
    rest = _count(node).since(start)
    before = _count(node)
    statuses = await _die(node, units)
    death = _count(node).since(before)
    await _revive(node, units)
    before, without = _count(node), _checkpoint_bytes(node)
    await node.kubelet.run_pod("pod", {RESOURCE: 1})
    pod = _count(node).since(before)
    return KubeletCost(
        host=kind,
        cut=cut,
        units=len(units),
        registrations=start.registrations,
        messages=start.messages,
        message_bytes=message_bytes(units),
        writes=start.writes,
        checkpoint_bytes=empty,
        rest_messages=rest.messages,
        rest_writes=rest.writes,
        death_messages=death.messages,
        death_writes=death.writes,
        death_statuses=statuses,
        pod_messages=pod.messages,
        pod_writes=pod.writes,
        pod_bytes=_checkpoint_bytes(node) - without,
    )


async def _die(node: Node, units: Sequence[PluginDevice]) -> int:
    """Let the first card die; how many different numbers of healthy units the kubelet was told until it knew."""
    card = node.host.cards[0]
    heard = len(node.kubelet.events_of(EventKind.LIST_MESSAGE, RESOURCE))
    card.die()
    lost = len(units) // len(node.host.cards)
    await node.kubelet.until(lambda view: len(view.unhealthy(RESOURCE)) == lost, PATIENCE)
    told = node.kubelet.events_of(EventKind.LIST_MESSAGE, RESOURCE)[heard - 1 :]
    numbers = [sum(unit.healthy for unit in message.devices) for message in told]
    return sum(one != other for one, other in pairwise(numbers))


async def _revive(node: Node, units: Sequence[PluginDevice]) -> None:
    node.host.cards[0].revive()
    await node.offers(*(unit.id for unit in units))


def message_bytes(units: Iterable[PluginDevice]) -> int:
    """Size of the ListAndWatch message that says these units."""
    return api.ListAndWatchResponse(devices=[_device(unit) for unit in units]).ByteSize()


def _device(unit: PluginDevice) -> api.Device:
    if unit.numa is None:
        return api.Device(ID=unit.id, health=unit.health)
    nodes = [api.NUMANode(ID=number) for number in unit.numa]
    return api.Device(ID=unit.id, health=unit.health, topology=api.TopologyInfo(nodes=nodes))


def _checkpoint_bytes(node: Node) -> int:
    """Of the kubelet's file, as if the simulated /dev were /dev and the pod had a cluster's uid."""
    document = json.loads(node.kubelet.checkpoint_path.read_text()) | {"Checksum": _CHECKSUM}
    for entry in document["Data"]["PodDeviceEntries"] or ():
        entry["PodUID"] = _UID
        entry["AllocResp"] = _in_dev(entry["AllocResp"], node.host.devfs)
    return len(json.dumps(document, separators=(",", ":")))


def _in_dev(response: str, devfs: str) -> str:
    message = api.ContainerAllocateResponse.FromString(base64.b64decode(response))
    for device in message.devices:
        device.host_path = device.host_path.replace(devfs, "/dev", 1)
    return base64.b64encode(message.SerializeToString()).decode()
