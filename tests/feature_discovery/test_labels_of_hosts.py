"""From a host's files to its labels: the specification's ten, and what no fault of one file can change."""

from pathlib import Path

import pytest

from npu_core.host import Host
from npu_core.parse.mgmt import IDENTITY_ATTRIBUTES
from npu_core.testing import EACCES, EIO, ENODEV, FakeHost, Fault, FaultyFS, garbage, rngd, warboy
from npu_feature_discovery.labels.known_facts import KnownFacts
from npu_feature_discovery.labels.table import Extra, Facts, Labels, labels_of
from tests.feature_discovery.facts import short

FAULTS = {"EIO": EIO, "EACCES": EACCES, "ENODEV": ENODEV, "garbage": garbage()}


def look(host: Host) -> Facts:
    return Facts(host.inventory().devices, host.machine())


def labels(host: Host) -> dict[str, str]:
    return short(labels_of(look(host)))


def test_a_dead_card_counts(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    before = labels(host.open())
    host.cards[1].die()
    assert labels(host.open()) == before


def before_and_with(root: Path, pattern: str, fault: Fault) -> tuple[Labels, Labels]:
    """Labels of a host, and of the same one when the files that match ``pattern`` have become unreadable."""
    host, fs = FakeHost(root, warboy(0), rngd(0)), FaultyFS()
    memory = KnownFacts().after(look(host.open(fs)))
    fs.put(pattern, fault)
    later = memory.after(look(host.open(fs)))
    assert memory.facts is not None
    assert later.facts is not None
    assert any(card.unreadable for card in later.facts.devices)
    return labels_of(memory.facts, extras=Extra), labels_of(later.facts, extras=Extra)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
@pytest.mark.parametrize("attribute", [*IDENTITY_ATTRIBUTES, "*"])
def test_an_attribute_that_becomes_unreadable_changes_no_label(tmp_path: Path, attribute: str, fault: Fault) -> None:
    before, after = before_and_with(tmp_path, f"*/npu0_mgmt/{attribute}", fault)
    assert after == before


def test_a_management_directory_that_is_suddenly_empty_changes_no_label(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, warboy(0), warboy(1))
    memory = KnownFacts().after(look(host.open()))
    for attribute in IDENTITY_ATTRIBUTES:
        (tmp_path / "sys/class/npu_mgmt/npu0_mgmt" / attribute).unlink()
    later = memory.after(look(host.open()))
    assert later.facts is not None
    assert later.facts.devices[0].unreadable
    assert memory.facts is not None
    assert labels_of(later.facts, extras=Extra) == labels_of(memory.facts, extras=Extra)


def test_an_attribute_that_was_never_readable_costs_its_labels_only(tmp_path: Path) -> None:
    host, fs = FakeHost(tmp_path, warboy(0)), FaultyFS()
    whole = labels(host.open(fs))
    fs.put("*/npu0_mgmt/version", EIO)
    assert labels(host.open(fs)) == {key: whole[key] for key in whole if not key.startswith("driver.")}
