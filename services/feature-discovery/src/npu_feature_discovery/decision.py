"""What to believe of the looks at a host, and so what its labels are made of. Pure: no I/O, no clock.

"I cannot tell" is not "there is none": a look that fails changes nothing, a fact that cannot be read this time stays
what it was, and no card at all is believed only when it is seen twice.
"""

from dataclasses import dataclass, replace
from typing import Self

from npu_core.device import Device
from npu_core.errors import HostError, Reason
from npu_core.parse.mgmt import EVERY_ATTRIBUTE
from npu_feature_discovery.labels import Facts

EMPTY_LOOKS = 2
"""Looks in a row without a card after which the node has none. The driver may just be loaded anew."""

PRODUCT_FROM = frozenset({"device_type", "soc_rev"})
DRIVER_FROM = frozenset({"version"})
FIRMWARE_FROM = frozenset({"fw_version"})
"""Attributes that a fact of a card is told by."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the looks so far have shown. ``Memory()`` is that of a process that has not looked yet.

    Attributes:
        facts: what the labels are to say; None as long as nothing is known, and then nothing is published.
        failed: why the last look failed, for people; None if it did not. The facts are then of an earlier look.
        empty_looks: looks without a card since there was one, :data:`EMPTY_LOOKS` at most.
    """

    facts: Facts | None = None
    failed: str | None = None
    empty_looks: int = 0

    @property
    def unsettled(self) -> bool:
        """Whether the last look found no card and another one should confirm it soon."""
        return self.failed is None and 0 < self.empty_looks < EMPTY_LOOKS

    def after(self, look: Facts | HostError) -> Self:
        """The memory with one more look, or with why there was nothing to see.

        Args:
            look: what was found. A card that did not answer in time is to be among it, with a note of
                :attr:`~npu_core.errors.Reason.STUCK`; a machine that could not be read is None.
        """
        if isinstance(look, HostError):
            return replace(self, failed=str(look))
        empty_looks = 0 if look.devices else min(self.empty_looks + 1, EMPTY_LOOKS)
        believed = bool(look.devices) or empty_looks == EMPTY_LOOKS
        return type(self)(self._merged(look) if believed else self.facts, None, empty_looks)

    def _merged(self, look: Facts) -> Facts:
        if self.facts is None:
            return look
        before = {device.key: device for device in self.facts.devices}
        devices = tuple(_with_memory(device, before.get(device.key)) for device in look.devices)
        return Facts(devices, look.machine or self.facts.machine)


def _with_memory(device: Device, before: Device | None) -> Device:
    """``device`` with what could not be read of it as it was ``before``, if that was the same card."""
    if before is None or _is_another(device, before):
        return device
    return replace(
        device,
        product=before.product if cannot_tell(device, PRODUCT_FROM) else device.product,
        driver=before.driver if cannot_tell(device, DRIVER_FROM) else device.driver,
        firmware=before.firmware if cannot_tell(device, FIRMWARE_FROM) else device.firmware,
    )


def _is_another(device: Device, before: Device) -> bool:
    """Whether both say who they are, and differ: a card was replaced by one with the same number."""
    identities = ((device.uuid, before.uuid), (device.serial, before.serial))
    return any(now is not None and then is not None and now != then for now, then in identities)


def cannot_tell(device: Device, attributes: frozenset[str]) -> bool:
    """Whether one of these attributes of the card could not be read: its silence then means nothing."""
    return any(
        item.reason is Reason.STUCK or item.subject == EVERY_ATTRIBUTE or item.subject in attributes
        for item in device.unreadable
    )
