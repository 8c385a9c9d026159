"""What the machine-readable documents of several commands have in common."""

from collections.abc import Iterable, Mapping, Sequence

from npu_core.device import Device
from npu_core.errors import Unreadable

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""A value that JSON and YAML can hold."""


def identity(device: Device) -> dict[str, Json]:
    """The keys that say which card it is: ``npu`` is unique within ``arch`` only."""
    return {"npu": device.name, "arch": device.arch.value, "name": device.spec.vendor_name}


def unreadable_list(items: Iterable[Unreadable]) -> list[Json]:
    """What could not be read, each with the closed-set reason and the words."""
    return [{"subject": item.subject, "reason": item.reason.value, "detail": item.detail} for item in items]
