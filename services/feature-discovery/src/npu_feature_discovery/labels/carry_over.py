"""What a process that has just started takes over of the labels of the one before. Pure.

A card that hangs while the service is started anew has told this process nothing, and yet nothing has changed: its
labels stay. Only where the same cards are there, as far as can be seen, and only until somebody tells.
"""

from collections.abc import Collection, Iterator

from npu_core.identity import unread_fields
from npu_feature_discovery.labels.table import PREFIX, Extra, Facts, Labels, LabelSource, spec_of

_CARDS = (f"{PREFIX}npu.count", f"{PREFIX}npu.family")
"""What is seen of cards that do not answer."""


def with_carried_over(labels: Labels, before: Labels, facts: Facts, extras: Collection[Extra] = ()) -> Labels:
    """``labels``, and those of ``before`` whose facts nobody could tell this time, in key order.

    Args:
        labels: what ``facts`` make.
        before: what was published when this process started.
        facts: what is known by now.
        extras: groups of labels that are asked for.
    """
    untold = frozenset(_untold(labels, before, facts))
    groups = {None, *extras}
    kept = {
        key: value
        for key, value in before.items()
        if (spec := spec_of(key)) is not None and spec.source in untold and spec.group in groups
    }
    return dict(sorted({**labels, **kept}.items()))


def _untold(labels: Labels, before: Labels, facts: Facts) -> Iterator[str]:
    """The sources of labels that say nothing now, and whose silence means nothing."""
    if facts.machine is None:
        yield from (LabelSource.MACHINE_VENDOR, LabelSource.MACHINE_NAME)
    if any(labels.get(key) != before.get(key) for key in _CARDS):
        return
    unread = frozenset().union(*map(unread_fields, facts.devices))
    for source, field in (
        (LabelSource.PRODUCT, "product"),
        (LabelSource.DRIVER, "driver"),
        (LabelSource.FIRMWARE, "firmware"),
    ):
        if field in unread and not any(getattr(card, field) for card in facts.devices):
            yield source
