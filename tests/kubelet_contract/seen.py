"""What anybody on the node sees of a kubelet: its checkpoint, and its answers on the socket of PodResources."""

import json
from typing import Any

import grpc.aio

from npu_core.kubelet._podresources import podresources_pb2 as api
from npu_core.kubelet._podresources.podresources_pb2_grpc import PodResourcesListerStub
from testkit.standins.scripted_plugin import CHANNEL_OPTIONS
from tests.kubelet_contract.subject import Kubelet, until

Recorded = dict[tuple[str, str], dict[str, list[str]]]
"""Sorted unit ids by NUMA node, by the pod's uid and the container's name."""


def _checkpoint(kubelet: Kubelet) -> dict[str, Any]:
    try:
        text = (kubelet.plugin_dir / "kubelet_internal_checkpoint").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {"PodDeviceEntries": [], "RegisteredDevices": {}}
    return dict(json.loads(text)["Data"])


def written(kubelet: Kubelet) -> tuple[int, int]:
    """Which file the checkpoint is: another one after each writing; zeros if there is none."""
    try:
        seen = (kubelet.plugin_dir / "kubelet_internal_checkpoint").stat()
    except FileNotFoundError:
        return 0, 0
    return seen.st_ino, seen.st_mtime_ns


async def until_written(kubelet: Kubelet, before: tuple[int, int]) -> None:
    """Wait until the checkpoint is another file."""

    async def another() -> bool:
        return written(kubelet) != before

    await until(another, "the checkpoint is written")


def registered(kubelet: Kubelet) -> set[str] | None:
    """The units of the scenario that the checkpoint has as registered; None if it does not name the resource."""
    ids = (_checkpoint(kubelet)["RegisteredDevices"] or {}).get(kubelet.resource, "")
    return None if ids == "" else set(ids or ())


def recorded(kubelet: Kubelet) -> Recorded:
    """The units of the scenario that the checkpoint has for containers."""
    return {
        (entry["PodUID"], entry["ContainerName"]): {node: sorted(ids) for node, ids in entry["DeviceIDs"].items()}
        for entry in _checkpoint(kubelet)["PodDeviceEntries"] or ()
        if entry["ResourceName"] == kubelet.resource
    }


async def pods_listed(kubelet: Kubelet) -> dict[str, dict[str, set[str]]]:
    """What List of PodResources answers: the units of the scenario by container, by pod."""
    target = f"unix:{kubelet.pod_resources}"
    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        answer = await PodResourcesListerStub(channel).List(
            api.ListPodResourcesRequest(), timeout=60, wait_for_ready=True
        )
    return {
        pod.name: {
            container.name: {
                each
                for device in container.devices
                if device.resource_name == kubelet.resource
                for each in device.device_ids
            }
            for container in pod.containers
        }
        for pod in answer.pod_resources
    }
