"""Disabled devices that a host does not have."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from npu_core.claims import KnownCard
from npu_core.errors import ReadFailedError, Unreadable
from npu_device_plugin.allocation.disabled import DisabledDevice, UnknownDevice, unknown_devices
from npu_device_plugin.settings import Settings
from tests.device_plugin.cards import warboy_card

UUID = "A76AAD68-6855-40B1-9E86-D080852D1C84"
DEVICE = warboy_card(1, uuid=UUID, pci="0000:6d:00.0")
CARD = KnownCard(DEVICE)


def unknown(settings: Settings, known: Collection[KnownCard]) -> tuple[UnknownDevice, ...]:
    return unknown_devices(settings.disabled_devices, settings.node_name, known)


def disabling(*names: str) -> Settings:
    return Settings(disabled_devices=tuple(map(DisabledDevice, names)))


@pytest.mark.parametrize("name", ["npu1", "npu1pe0", "npu1pe0-1", UUID.lower(), "0000:6D:00.0"])
def test_what_means_a_card_or_a_part_of_it_is_known(name: str) -> None:
    assert unknown(disabling(name), [CARD]) == ()


@pytest.mark.parametrize("name", ["npu0", "npu1pe2", "npu10pe0", UUID.replace("A7", "A8"), "0000:6d:00.1"])
def test_what_means_nothing_here_is_told_with_its_place_and_what_would(name: str) -> None:
    expected = "one of npu1, npu3, or a unit, a UUID or a PCI address of one"
    assert unknown(disabling("npu1", name), [CARD, KnownCard(warboy_card(3))]) == (
        UnknownDevice("disabledDevices[1]", name, expected),
    )


def test_an_entry_for_another_node_is_none_of_ours() -> None:
    there = DisabledDevice("npu9", "there")
    assert unknown(Settings(disabled_devices=(there,), node_name="here"), [CARD]) == ()
    assert len(unknown(Settings(disabled_devices=(there,), node_name="there"), [CARD])) == 1


def test_a_host_without_a_card_knows_nothing_yet() -> None:
    assert unknown(disabling("npu9"), []) == ()


def test_a_uuid_may_be_that_of_a_card_whose_uuid_cannot_be_read() -> None:
    unread = Unreadable.of("npu1", "device_uuid", ReadFailedError("no"))
    dumb = KnownCard(replace(DEVICE, uuid=None, unreadable=(unread,)))
    assert unknown(disabling(UUID), [dumb]) == ()
    assert len(unknown(disabling("npu2"), [dumb])) == 1


def test_an_entry_that_names_a_card_by_its_former_number_is_known() -> None:
    moved = KnownCard(warboy_card(2), former=frozenset({0}))
    assert unknown(disabling("npu0", "npu0pe1"), [moved]) == ()
    assert len(unknown(disabling("npu1"), [moved])) == 1
