"""``npu-feature-discovery check``: which labels this host would have, whence, and what NFD would drop."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace

from npu_core.device import Rejected
from npu_core.errors import Unreadable
from npu_core.host import Host
from npu_core.machine import Placeholder
from npu_feature_discovery.host_scan import HostScanner
from npu_feature_discovery.labels.known_facts import counted
from npu_feature_discovery.labels.nfd_rules import Dropped, NfdVersion, dropped
from npu_feature_discovery.labels.table import LabelOrigin, describe
from npu_feature_discovery.settings import Settings
from npu_feature_discovery.sinks.feature_file import utc_now


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What one look at the host gives.

    Attributes:
        labels: each with its value and the files that say it.
        version: of NFD, whose rules were asked; None without NFD.
        dropped: what that version would not publish.
        rejected: what looks like a card and is not counted.
        unreadable: attributes of cards that could not be read.
        placeholders: DMI strings of the machine that are placeholders.
    """

    labels: tuple[LabelOrigin, ...]
    version: NfdVersion | None
    dropped: tuple[Dropped, ...]
    rejected: tuple[Rejected, ...]
    unreadable: tuple[Unreadable, ...]
    placeholders: tuple[Placeholder, ...]


def examine(settings: Settings, version: NfdVersion, extra_label_ns: Collection[str] = ()) -> CheckReport:
    """Look at the host once; a card that hangs is waited for no longer than the service would.

    Args:
        settings: of the service.
        version: of the cluster's Node Feature Discovery.
        extra_label_ns: namespaces that its master was told to take.

    Raises:
        HostError: if the host cannot be listed.
    """
    look = HostScanner(Host(settings.sysfs, settings.devfs)).look()
    devices, not_counted = counted(look.facts.devices, sees_device_files=settings.sees_device_files)
    labels = describe(replace(look.facts, devices=devices), settings.mixed, settings.extra_labels, sysfs=settings.sysfs)
    by_nfd = settings.uses_nfd
    expires = None if settings.expiry is None else utc_now() + settings.expiry
    said = {label.key: label.value for label in labels}
    return CheckReport(
        labels=labels,
        version=version if by_nfd else None,
        dropped=dropped(said, version, extra_label_ns=extra_label_ns, expires=expires) if by_nfd else (),
        rejected=(*look.rejected, *not_counted),
        unreadable=tuple(item for device in look.facts.devices for item in device.unreadable),
        placeholders=look.facts.machine.placeholders if look.facts.machine else (),
    )


def as_json(finding: CheckReport) -> str:
    """The finding for programs."""
    return json.dumps(
        {
            "labels": [{"key": each.key, "value": each.value, "source": each.source} for each in finding.labels],
            "nfd": {
                "version": None if finding.version is None else str(finding.version),
                "dropped": [{"key": each.key, "reason": each.reason} for each in finding.dropped],
            },
            "rejected": [{"card": card.name, "family": card.arch, "reason": card.reason} for card in finding.rejected],
            "unreadable": [
                {"card": item.card, "attribute": item.subject, "reason": item.reason, "detail": item.detail}
                for item in finding.unreadable
            ],
            "placeholders": [{"item": each.item, "text": each.text} for each in finding.placeholders],
        },
        indent=2,
    )


def as_text(finding: CheckReport) -> str:
    """The finding for people."""
    said = [f"{label.key}={label.value}" for label in finding.labels]
    width = max(map(len, said), default=0)
    lines = [f"{text:<{width}}  {label.source}" for text, label in zip(said, finding.labels, strict=True)]
    if finding.version is not None:
        count = len(finding.dropped)
        lines.append(f"NFD {finding.version} drops {count or 'none'} of them{':' if count else ''}")
        lines.extend(f"  {each.key}: {each.reason}" for each in finding.dropped)
    lines.extend(f"not counted: {card.name} ({card.arch}): {card.reason}" for card in finding.rejected)
    lines.extend(f"unreadable: {item}" for item in finding.unreadable)
    lines.extend(f"not used: {each}" for each in finding.placeholders)
    return "\n".join(lines)
