"""What a process that has just started takes over of the labels of the one before."""

from dataclasses import replace

import pytest

from npu_core.device import Device
from npu_core.errors import Reason, Unreadable
from npu_core.machine import Machine
from npu_core.parse.mgmt import EVERY_ATTRIBUTE
from npu_feature_discovery.labels.carry_over import with_carried_over
from npu_feature_discovery.labels.table import Extra, Facts, Labels, labels_of
from tests.feature_discovery.facts import node, rngd, short, warboy

SILENT = warboy(product=None, driver=None, firmware=None)
FIRMWARE = [Extra.FIRMWARE, Extra.PRODUCT_COUNT]


def stuck(device: Device, subject: str = EVERY_ATTRIBUTE, reason: Reason = Reason.STUCK) -> Device:
    return replace(device, unreadable=(Unreadable(device.name, subject, reason, "no answer"),))


def inherited(facts: Facts, before: Labels) -> Labels:
    return with_carried_over(labels_of(facts), before, facts)


def test_a_card_that_hangs_from_the_start_keeps_its_labels() -> None:
    before = labels_of(node(warboy()))
    assert inherited(node(stuck(SILENT)), before) == before
    assert list(inherited(node(stuck(SILENT)), before)) == sorted(before)


def test_an_attribute_that_cannot_be_read_keeps_its_labels_alone() -> None:
    now = node(stuck(replace(warboy(product="warboyB0"), driver=None), "version", Reason.IO))
    told = short(inherited(now, labels_of(node(warboy()))))
    assert (told["npu.product"], told["driver.version"], told["driver.reference"]) == ("warboyB0", "1.3.0", "57ac7b0")


TWO = labels_of(node(warboy(0), warboy(1)))


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (
            node(warboy(product="warboyB0", driver=None, firmware=None)),
            labels_of(node(warboy())),
        ),  # silent, and means it
        (node(stuck(SILENT), warboy(1, "warboyB0", "1.9.2, 3def9c2")), labels_of(node(warboy()))),  # the count differs
        (node(stuck(rngd(0, None, None))), labels_of(node(warboy()))),
        (node(), labels_of(node(warboy()))),
        (node(stuck(SILENT), warboy(1, driver="unstable")), TWO),  # a card that tells speaks for the one that hangs
        (node(stuck(SILENT)), TWO),  # a card less, though the rest hangs
        (node(warboy(), machine=Machine("Other", "Box")), labels_of(node(warboy()))),
    ],
)
def test_what_is_told_or_not_the_same_inherits_nothing(now: Facts, before: Labels) -> None:
    assert inherited(now, before) == labels_of(now)


@pytest.mark.parametrize("other", [warboy(1, product="other"), warboy(1, driver="2.0.0"), warboy(1, firmware="2.0.0")])
def test_whatever_one_card_tells_is_told_though_another_hangs(other: Device) -> None:
    before = labels_of(node(warboy(0), warboy(1)), extras=FIRMWARE)
    now = node(stuck(SILENT), other)
    told = labels_of(now, extras=FIRMWARE)
    assert with_carried_over(told, before, now, FIRMWARE) == told


def test_a_card_that_has_nothing_to_tell_does_not_speak_for_the_one_that_hangs() -> None:
    before = labels_of(node(warboy(0), warboy(1)))
    assert inherited(node(stuck(SILENT), warboy(1, None, None, None)), before) == before


def test_a_machine_that_cannot_be_read_stays_what_it_was() -> None:
    before = labels_of(node(warboy()))
    assert inherited(node(warboy(), machine=None), before) == before


def test_labels_that_are_no_longer_asked_for_are_not_kept() -> None:
    before = labels_of(node(warboy()), extras=FIRMWARE)
    now = node(stuck(SILENT))
    assert inherited(now, before) == labels_of(node(warboy()))
    assert with_carried_over(labels_of(now, extras=FIRMWARE), before, now, FIRMWARE) == before


def test_what_is_none_of_our_labels_is_not_kept() -> None:
    before = {**labels_of(node(warboy())), "beta.furiosa.ai/own": "1", "example.com/npu.x.count": "1"}
    assert inherited(node(stuck(SILENT)), before) == labels_of(node(warboy()))
