"""Which entries are one card, and what is kept of a card that could not be read this time."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch, arch_spec
from npu_core.device import ComponentVersion, Device, PciAddress
from npu_core.errors import Reason, Unreadable
from npu_core.identity import (
    carried_over,
    counting_order,
    doubles,
    is_another_card,
    is_same_card,
    is_same_function,
    is_same_hardware,
)
from npu_core.parse.devfs import parse_device_file
from npu_core.parse.mgmt import EVERY_ATTRIBUTE

Relation = Callable[[Device, Device], bool]

A, B = PciAddress.parse("0000:17:00.0"), PciAddress.parse("0000:65:00.0")
VIRTUAL, SECOND_VIRTUAL = PciAddress.parse("0000:17:00.1"), PciAddress.parse("0000:17:00.2")
DRIVER, NEWER = ComponentVersion.parse("1.9.2, 3def9c2"), ComponentVersion.parse("1.10.0, 4aa0001")


def card(index: int = 0, **values: object) -> Device:
    return replace(Device(index, Arch.WARBOY), **values)  # type: ignore[arg-type]  # fields by name


def unread(subject: str, reason: Reason = Reason.IO) -> Unreadable:
    return Unreadable("npu0", subject, reason, "it did not work")


def files(*suffixes: str, index: int = 0) -> tuple[object, ...]:
    return tuple(parse_device_file(arch_spec(Arch.WARBOY), f"npu{index}{suffix}") for suffix in suffixes)


# -- is_another_card --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "seen", "another"),
    [
        (card(uuid="a1"), card(uuid="b2"), True),
        (card(uuid="a1"), card(uuid="A1"), False),
        (card(serial="s1"), card(serial="s2"), True),
        (card(uuid="a1", serial="s1"), card(uuid="a1", serial="s2"), True),
        (card(uuid="a1", pci=A), card(uuid="a1", pci=B), False),
        (card(uuid="a1", pci=A), card(pci=B), True),
        (card(uuid="a1", pci=A), card(pci=A), False),
        (card(pci=A), card(pci=B), True),
        (card(pci=A), card(), False),
        (card(uuid="a1", serial="s1"), card(uuid="a1"), False),
        (card(uuid="0000-00", pci=A), card(uuid="b2", pci=A), False),
        (card(uuid="FFFF-ff", pci=A), card(uuid="b2", pci=A), False),
        (card(uuid="00 00", pci=A), card(uuid="b2", pci=A), False),
        (card(uuid="X", pci=A), card(uuid="b2", pci=A), True),
        (card(uuid="0000-00", pci=A), card(uuid="0000-00", pci=B), True),
        (card(), card(), False),
    ],
)
def test_another_card_is_told_by_uuid_and_serial_number_and_else_by_the_address(
    known: Device, seen: Device, *, another: bool
) -> None:
    assert is_another_card(known, seen) is another


def test_virtual_functions_with_the_identity_of_their_card_are_told_apart_by_the_address() -> None:
    one = card(1, uuid="a1", serial="s1", pci=VIRTUAL, physical_function=A)
    other = card(1, uuid="a1", serial="s1", pci=SECOND_VIRTUAL, physical_function=A)
    assert is_another_card(one, other)
    assert not is_same_card(one, other)
    assert not is_same_card(card(0, uuid="a1", serial="s1", pci=A), one)
    assert not is_another_card(one, one)


# -- is_same_card -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (card(0, uuid="a1"), card(2, uuid="a1"), True),
        (card(0, serial="s1", pci=A), card(2, serial="s1", pci=B), True),
        (card(0, pci=A), card(2, pci=A), True),
        (card(0, uuid="a1", pci=A), card(2, uuid="b2", pci=A), False),
        (card(0, uuid="0000", pci=A), card(2, uuid="0000", pci=B), False),
        (card(0), card(0), False),
        (card(0, uuid="a1"), card(0, serial="a1"), False),
        (card(0, uuid="a1"), Device(0, Arch.RENEGADE, uuid="a1"), False),
    ],
)
def test_two_entries_are_one_card_only_if_something_says_so_and_nothing_denies_it(
    one: Device, other: Device, *, same: bool
) -> None:
    assert is_same_card(one, other) is same


# -- carried_over -----------------------------------------------------------------------------------------------------

WHOLE = card(
    product="warboyB0",
    uuid="a1",
    serial="s1",
    pci=VIRTUAL,
    numa_node=1,
    dev="509:0",
    firmware=ComponentVersion.parse("1.6.0"),
    driver=DRIVER,
    soc_rev="B0",
    physical_function=A,
)
TOLD_BY = {
    "device_type": ("product",),
    "soc_rev": ("product", "soc_rev"),
    "device_uuid": ("uuid",),
    "device_sn": ("serial",),
    "busname": ("pci", "numa_node", "physical_function"),
    "numa_node": ("numa_node",),
    "physfn": ("physical_function",),
    "dev": ("dev",),
    "fw_version": ("firmware",),
    "version": ("driver",),
}
FIELDS = {name for names in TOLD_BY.values() for name in names}


def without(device: Device, names: tuple[str, ...] | set[str]) -> Device:
    return replace(device, **dict.fromkeys(names))  # type: ignore[arg-type]  # every one of these may be None


def test_every_field_that_is_read_of_a_card_is_among_those_carried_over() -> None:
    structure = {"index", "arch", "files", "unreadable"}
    assert {field.name for field in fields(Device)} - structure == FIELDS


@pytest.mark.parametrize("attribute", list(TOLD_BY))
def test_what_could_not_be_read_this_time_stays_as_it_was_known(attribute: str) -> None:
    seen = replace(without(WHOLE, TOLD_BY[attribute]), unreadable=(unread(attribute),))
    assert carried_over(WHOLE, seen) == replace(WHOLE, unreadable=seen.unreadable)


@pytest.mark.parametrize("attribute", list(TOLD_BY))
def test_what_a_driver_no_longer_offers_is_gone(attribute: str) -> None:
    seen = without(WHOLE, TOLD_BY[attribute])
    assert carried_over(WHOLE, seen) == seen


@pytest.mark.parametrize("failure", [unread(EVERY_ATTRIBUTE, Reason.MISSING), unread("alive", Reason.STUCK)])
def test_a_card_of_which_nothing_could_be_read_is_the_card_it_was(failure: Unreadable) -> None:
    seen = replace(without(WHOLE, FIELDS), unreadable=(failure,))
    assert carried_over(WHOLE, seen) == replace(WHOLE, unreadable=(failure,))


def test_what_was_read_is_believed_although_another_read_hung() -> None:
    seen = replace(WHOLE, firmware=ComponentVersion.parse("1.7.0"), uuid=None, unreadable=(unread("x", Reason.STUCK),))
    merged = carried_over(WHOLE, seen)
    assert (str(merged.firmware), merged.uuid) == ("1.7.0", "a1")


def test_a_card_in_another_slot_does_not_keep_the_numa_node_of_the_old_one() -> None:
    seen = replace(WHOLE, pci=B, numa_node=None, physical_function=None, unreadable=(unread("numa_node"),))
    assert carried_over(WHOLE, seen) == seen
    hung = replace(seen, unreadable=(unread("x", Reason.STUCK),))
    assert carried_over(WHOLE, hung) == hung


@pytest.mark.parametrize(
    ("known_driver", "seen_driver", "is_kept"),
    [(DRIVER, DRIVER, True), (DRIVER, None, True), (None, DRIVER, True), (None, None, True), (DRIVER, NEWER, False)],
)
def test_device_files_that_vanished_are_remembered_unless_another_driver_makes_them(
    known_driver: ComponentVersion | None, seen_driver: ComponentVersion | None, *, is_kept: bool
) -> None:
    known = card(driver=known_driver, files=files("_mgmt", "pe0", "pe1"))
    seen = card(driver=seen_driver, files=files("_mgmt", "ch0", "pe1"))
    expected = ("_mgmt", "ch0", "pe0", "pe1") if is_kept else ("_mgmt", "ch0", "pe1")
    assert tuple(file.suffix for file in carried_over(known, seen).files) == expected


def test_device_files_of_an_earlier_number_are_not_those_of_the_new_one() -> None:
    known, seen = card(0, driver=DRIVER, files=files("pe0")), card(2, driver=DRIVER, files=files("pe0", index=2))
    assert carried_over(known, seen).files == seen.files


# -- one hardware, several entries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "function", "hardware"),
    [
        (card(0, pci=A), card(1, pci=A), True, True),
        (card(0, pci=A, dev="509:0"), card(1, pci=B, dev="509:0"), False, False),
        (card(0, pci=A, dev="509:0"), card(1, dev="509:0"), True, True),
        (card(0, dev="509:0"), card(1, dev="510:0"), False, False),
        (card(0, pci=A), card(1, pci=VIRTUAL, physical_function=A), False, True),
        (
            card(1, pci=VIRTUAL, physical_function=A),
            card(2, pci=SECOND_VIRTUAL, physical_function=A),
            False,
            False,
        ),
        (card(0), card(1), False, False),
        (card(0, uuid="a1"), card(1, uuid="a1"), False, False),
    ],
)
def test_entries_of_one_function_and_virtual_functions_of_a_card_are_one_hardware(
    one: Device, other: Device, *, function: bool, hardware: bool
) -> None:
    assert is_same_function(one, other) is function
    assert is_same_hardware(one, other) is hardware


def test_two_virtual_functions_are_kept_and_their_physical_function_is_kept_alone() -> None:
    physical = card(0, pci=A)
    one = card(1, pci=VIRTUAL, physical_function=A)
    two = card(2, pci=SECOND_VIRTUAL, physical_function=A)
    assert doubles([physical, one, two]) == {one.key: physical, two.key: physical}
    assert doubles([one, two, physical]) == {physical.key: one}


def test_physical_functions_are_counted_before_virtual_ones_and_then_by_family_and_number() -> None:
    rngd = Device(0, Arch.RENEGADE)
    virtual = card(0, pci=VIRTUAL, physical_function=A)
    assert sorted([virtual, rngd, card(2), card(1)], key=counting_order) == [card(1), card(2), rngd, virtual]


# -- properties -------------------------------------------------------------------------------------------------------

ADDRESSES = st.none() | st.sampled_from([A, B, VIRTUAL, SECOND_VIRTUAL])


@st.composite
def entries(draw: st.DrawFn, index: int | None = None) -> Device:
    """A card out of so few identities that two are often alike, with any of its attributes unread."""
    return Device(
        index=draw(st.integers(0, 3)) if index is None else index,
        arch=draw(st.sampled_from(list(Arch))) if index is None else Arch.WARBOY,
        product=draw(st.none() | st.just("warboyB0")),
        uuid=draw(st.none() | st.sampled_from(["", "0000-0", "a1", "A1", "b2"])),
        serial=draw(st.none() | st.sampled_from(["0", "s1", "s2"])),
        pci=draw(ADDRESSES),
        numa_node=draw(st.none() | st.integers(0, 1)),
        dev=draw(st.none() | st.sampled_from(["509:0", "510:0"])),
        firmware=draw(st.none() | st.just(ComponentVersion.parse("1.6.0"))),
        driver=draw(st.none() | st.sampled_from([DRIVER, NEWER])),
        soc_rev=draw(st.none() | st.just("B0")),
        physical_function=draw(ADDRESSES),
        unreadable=draw(
            st.lists(
                st.builds(
                    unread, st.sampled_from([*TOLD_BY, EVERY_ATTRIBUTE, "/dev/npu0pe0"]), st.sampled_from(Reason)
                ),
                max_size=3,
            ).map(tuple)
        ),
    )


@pytest.mark.parametrize("relation", [is_another_card, is_same_card, is_same_function, is_same_hardware])
@given(one=entries(), other=entries())
def test_every_relation_of_two_cards_is_symmetric(relation: Relation, one: Device, other: Device) -> None:
    assert relation(one, other) is relation(other, one)


@given(one=entries(), other=entries())
def test_a_card_is_never_the_same_and_another(one: Device, other: Device) -> None:
    assert not is_another_card(one, one)
    assert not (is_same_card(one, other) and is_another_card(one, other))


@given(known=entries(0), seen=entries(0))
def test_nothing_known_is_lost_to_a_failed_read_and_nothing_else_is_revived(known: Device, seen: Device) -> None:
    merged = carried_over(known, seen)
    failed = {item.subject for item in seen.unreadable}
    nothing_read = EVERY_ATTRIBUTE in failed or any(item.reason is Reason.STUCK for item in seen.unreadable)
    place = {"numa_node", "physical_function"} if seen.pci not in {None, known.pci} else set()
    for name in FIELDS:
        before, now, after = (getattr(each, name) for each in (known, seen, merged))
        is_unread = nothing_read or any(attribute in failed and name in TOLD_BY[attribute] for attribute in TOLD_BY)
        if now is not None:
            assert after == now
        elif is_unread and name not in place:
            assert after == before
        else:
            assert after is None
    assert (merged.index, merged.arch, merged.unreadable) == (seen.index, seen.arch, seen.unreadable)


@given(st.lists(entries(), max_size=6, unique_by=lambda device: device.key))
def test_no_hardware_is_kept_twice_and_none_is_dropped_without_its_twin(devices: list[Device]) -> None:
    left_out = doubles(devices)
    kept = [device for device in devices if device.key not in left_out]
    assert not any(is_same_hardware(one, other) for one in kept for other in kept if one is not other)
    for device in devices:
        if device.key in left_out:
            twin = left_out[device.key]
            assert twin in kept
            assert is_same_hardware(device, twin)
            assert devices.index(twin) < devices.index(device)
