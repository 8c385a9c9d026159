"""What to believe of the looks at a host, and so what its labels are made of. Pure: no I/O, no clock.

"I cannot tell" is not "there is none": a look that fails changes nothing, a fact that cannot be read this time stays
what it was, and no card at all is believed only when it is seen twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from npu_core.device import Device, Rejected
from npu_core.errors import HostError
from npu_core.identity import carried_over, counting_order, doubles, is_another_card
from npu_feature_discovery.labels.table import Facts

EMPTY_LOOKS = 2
"""Looks in a row without a card after which the node has none. The driver may just be loaded anew."""


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """What the looks so far have shown. ``KnownFacts()`` is that of a process that has not looked yet.

    Attributes:
        facts: what the labels are to say; None as long as nothing is known, and then nothing is published.
        failed: why the last look failed, for people; None if it did not. The facts are then of an earlier look.
        empty_looks: looks without a card that counts since there was one, :data:`EMPTY_LOOKS` at most.
        cards: every card that the last good look with cards found, counted or not, with what is known of it.
        not_counted: the cards that ``facts`` leave out, and why.
        sees_device_files: whether this process sees the host's device files; see :func:`counted`.
    """

    facts: Facts | None = None
    failed: str | None = None
    empty_looks: int = 0
    cards: tuple[Device, ...] = ()
    not_counted: tuple[Rejected, ...] = ()
    sees_device_files: bool = True

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
        before = {device.key: device for device in self.cards}
        cards = tuple(_with_memory(device, before.get(device.key)) for device in look.devices)
        devices, not_counted = counted(cards, sees_device_files=self.sees_device_files)
        empty_looks = 0 if devices else min(self.empty_looks + 1, EMPTY_LOOKS)
        seen = replace(self, failed=None, empty_looks=empty_looks, cards=cards or self.cards)
        if not devices and empty_looks < EMPTY_LOOKS:
            return seen
        machine = look.machine or (self.facts.machine if self.facts else None)
        return replace(seen, facts=Facts(devices, machine), cards=cards, not_counted=not_counted)


def _with_memory(device: Device, before: Device | None) -> Device:
    """``device`` with what could not be read of it as it was ``before``, if that was the same card."""
    if before is None or is_another_card(before, device):
        return device
    # A device file that is gone is gone: whether the card can be used here is told by the files of now.
    return replace(carried_over(before, device), files=device.files)


def counted(
    cards: Iterable[Device], *, sees_device_files: bool = True
) -> tuple[tuple[Device, ...], tuple[Rejected, ...]]:
    """The cards that count as installed in the node, and those that do not, with the reason.

    A card that is dead or hangs is installed. Not counted are a card none of whose core device files exists here, as in
    a node that is itself a container, and a second entry of a card that is counted already.

    Args:
        cards: the cards, with their device files of now.
        sees_device_files: whether this process sees the host's device files. If not, nothing is concluded from files
            that are not there.
    """
    everything = tuple(cards)
    absent = [card for card in everything if sees_device_files and not card.has_core_file]
    reasons = dict.fromkeys((card.key for card in absent), "none of its core device files exists here")
    usable = [card for card in everything if card.key not in reasons]
    for key, twin in doubles(sorted(usable, key=counting_order)).items():
        reasons[key] = f"it is the same hardware as {twin.name}"
    left_out = (Rejected(card.name, card.arch, reasons[card.key]) for card in everything if card.key in reasons)
    return tuple(card for card in everything if card.key not in reasons), tuple(left_out)
