"""What is believed of the looks at a host."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import CardKey, Device, PciAddress
from npu_core.errors import AccessDeniedError, HostError, Reason, Unreadable
from npu_core.machine import Machine
from npu_core.parse.mgmt import EVERY_ATTRIBUTE
from npu_feature_discovery.labels.known_facts import KnownFacts, counted
from npu_feature_discovery.labels.table import Facts
from testkit.strategies import devices, host_errors
from tests.feature_discovery.facts import MACHINE, node, rngd, warboy

REFUSED = AccessDeniedError("EACCES (Permission denied)", path="/sys/class/npu_mgmt")
ONE, NONE = node(warboy()), node()


def after(*looks: Facts | HostError) -> KnownFacts:
    memory = KnownFacts()
    for look in looks:
        memory = memory.after(look)
    return memory


def but(device: Device, **fields: Any) -> Device:  # noqa: ANN401  # of whatever type the field has
    return replace(device, **fields)


def unreadable(device: Device, *subjects: str, reason: Reason = Reason.IO) -> Device:
    """``device`` with a note for each subject; the fields themselves are as given."""
    return but(device, unreadable=tuple(Unreadable(device.name, subject, reason, "EIO") for subject in subjects))


# -- looks and failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("looks", "facts", "unsettled"),
    [
        ([], None, False),
        ([node(warboy(), rngd())], node(warboy(), rngd()), False),
        ([ONE, node(warboy(), warboy(1))], node(warboy(), warboy(1)), False),
        ([node(warboy(), warboy(1)), node(warboy(1))], node(warboy(1)), False),
        # No card is believed when it is seen twice.
        ([ONE, NONE], ONE, True),
        ([ONE, NONE, NONE], NONE, False),
        ([NONE], None, True),
        ([NONE] * 2, NONE, False),
        ([NONE] * 5, NONE, False),
        ([NONE, ONE, NONE], ONE, True),
        ([NONE, NONE, ONE], ONE, False),
        # A look that fails tells nothing, neither for nor against.
        ([ONE, REFUSED], ONE, False),
        ([REFUSED, REFUSED], None, False),
        ([ONE, *[REFUSED] * 100], ONE, False),
        ([ONE, NONE, *[REFUSED] * 10], ONE, False),
        ([ONE, NONE, *[REFUSED] * 10, NONE], NONE, False),
        # A machine that cannot be read stays what it was.
        ([ONE, node(warboy(), machine=None)], ONE, False),
        ([ONE, *[node(machine=None)] * 2], NONE, False),
        ([node(warboy(), machine=None)], node(warboy(), machine=None), False),
        ([NONE, NONE, node(machine=Machine("Other"))], node(machine=Machine("Other")), False),
    ],
)
def test_what_is_known_after_looks(looks: list[Facts | HostError], facts: Facts | None, *, unsettled: bool) -> None:
    memory = after(*looks)
    assert (memory.facts, memory.unsettled) == (facts, unsettled)
    assert memory.failed == (str(REFUSED) if looks and looks[-1] is REFUSED else None)


def test_an_empty_node_stays_settled() -> None:
    assert after(*[NONE] * 5) == after(NONE, NONE)


# -- facts that cannot be read this time ------------------------------------------------------------------------------

SILENT = warboy(product=None, driver=None, firmware=None)


@pytest.mark.parametrize(
    ("field", "subject"),
    [("product", "device_type"), ("product", "soc_rev"), ("driver", "version"), ("firmware", "fw_version")],
)
def test_a_fact_that_cannot_be_read_stays_what_it_was_until_it_can(field: str, subject: str) -> None:
    silent = unreadable(but(warboy(), **{field: None}), subject)
    memory = after(ONE, node(silent))
    assert memory.facts == node(unreadable(warboy(), subject))
    assert memory.after(node(silent)) == memory
    assert after(ONE, NONE, REFUSED, node(silent)).facts == memory.facts
    updated = warboy(product="other", driver="1.9.8, 0000000", firmware="7.0.0")
    assert memory.after(node(updated)).facts == node(updated)


@pytest.mark.parametrize("field", ["product", "driver", "firmware"])
def test_a_fact_that_is_not_there_any_more_is_gone(field: str) -> None:
    silent = but(warboy(), **{field: None})
    for now in (silent, unreadable(silent, "numa_node", "busname", "device_uuid")):
        assert after(ONE, node(now)).facts == node(now)


@pytest.mark.parametrize("reason", [Reason.IO, Reason.STUCK])
def test_a_card_of_which_nothing_can_be_read_stays_what_it_was_and_the_others_are_believed(reason: Reason) -> None:
    silent = unreadable(SILENT, EVERY_ATTRIBUTE, reason=reason)
    known = unreadable(warboy(), EVERY_ATTRIBUTE, reason=reason)
    other = rngd(driver="2026.2.0")
    assert after(node(warboy(), rngd()), node(silent, other)).facts == node(known, other)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (NONE, node(unreadable(SILENT, EVERY_ATTRIBUTE))),
        (node(warboy(1)), node(unreadable(SILENT, EVERY_ATTRIBUTE), warboy(1))),
        (ONE, node(unreadable(rngd(0, None, None), EVERY_ATTRIBUTE))),  # the same number, another family
    ],
)
def test_a_card_that_could_never_be_read_is_there_and_unknown(before: Facts, now: Facts) -> None:
    assert after(before, now).facts == now


@pytest.mark.parametrize("field", ["uuid", "serial"])
def test_only_another_card_with_the_same_number_inherits_nothing(field: str) -> None:
    one, other = (but(warboy(), **{field: text}) for text in ("A", "B"))
    silent = unreadable(but(other, product=None), "soc_rev")
    unsure = unreadable(but(silent, **{field: None}), "soc_rev")
    assert after(node(one), node(silent)).facts == node(silent)
    assert after(node(one), node(unsure)).facts == node(but(unsure, product="warboy"))
    # Who says for the first time who it is, is the same card.
    assert after(ONE, node(silent)).facts == node(but(silent, product="warboy"))


def test_a_card_that_was_away_inherits_nothing() -> None:
    silent = unreadable(warboy(0, None), "soc_rev")
    assert after(node(warboy(0), warboy(1)), node(warboy(1)), node(silent, warboy(1))).facts == node(silent, warboy(1))
    assert after(ONE, NONE, NONE, node(silent)).facts == node(silent)


# -- cards that do not count ------------------------------------------------------------------------------------------

A = PciAddress.parse("0000:17:00.0")
VIRTUAL, SECOND_VIRTUAL = PciAddress.parse("0000:17:00.1"), PciAddress.parse("0000:17:00.2")
BARE = but(warboy(1), files=())


def indexes(memory: KnownFacts) -> list[int]:
    """The Warboy cards that count."""
    assert memory.facts is not None
    return [card.index for card in memory.facts.devices if card.arch is Arch.WARBOY]


def left_out(memory: KnownFacts) -> list[str]:
    return [card.name for card in memory.not_counted]


def functions(first: int) -> list[Device]:
    places = enumerate((VIRTUAL, SECOND_VIRTUAL), first)
    return [but(warboy(index), pci=pci, physical_function=A) for index, pci in places]


@pytest.mark.parametrize(
    ("cards", "count", "do_not"),
    [
        ([warboy(0), BARE], [0], ["npu1"]),
        ([warboy(0), unreadable(BARE, "/dev/npu1pe0", reason=Reason.ACCESS)], [0, 1], []),
        ([but(warboy(index), pci=A, dev="509:0") for index in (2, 0, 1)], [0], ["npu2", "npu1"]),
        # A physical function counts before its virtual functions, unless it cannot be used.
        ([but(warboy(0), pci=VIRTUAL, physical_function=A), but(warboy(1), pci=A)], [1], ["npu0"]),
        ([*functions(1)], [1, 2], []),
        ([but(warboy(0), pci=A, files=()), *functions(1)], [1, 2], ["npu0"]),
    ],
)
def test_which_cards_count(cards: list[Device], count: list[int], do_not: list[str]) -> None:
    memory = after(node(*cards))
    assert indexes(memory) == count
    assert left_out(memory) == do_not
    assert replace(memory.after(REFUSED), failed=None) == memory


def test_where_the_hosts_device_files_are_not_seen_nothing_is_concluded_from_them() -> None:
    assert indexes(KnownFacts(sees_device_files=False).after(node(BARE))) == [1]


def test_a_card_that_lost_its_files_stops_counting_and_counts_again_with_what_was_known() -> None:
    bare = unreadable(but(BARE, product=None), "device_type")
    memory = after(node(warboy(0), warboy(1)), node(warboy(0), bare))
    assert (indexes(memory), left_out(memory)) == ([0], ["npu1"])
    memory = memory.after(node(warboy(0), but(bare, files=warboy(1).files)))
    assert memory.facts == node(warboy(0), unreadable(warboy(1), "device_type"))
    assert left_out(memory) == []


def test_what_a_card_told_before_it_had_files_is_known_when_it_has() -> None:
    silent = unreadable(warboy(1, None), "device_type")
    assert after(node(BARE), node(silent)).facts == node(unreadable(warboy(1), "device_type"))


def test_a_node_where_no_card_counts_is_believed_at_the_second_look() -> None:
    memory = after(node(warboy(1)), node(BARE))
    assert (memory.facts, memory.unsettled, left_out(memory)) == (node(warboy(1)), True, [])
    memory = memory.after(node(BARE))
    assert (memory.facts, left_out(memory)) == (NONE, ["npu1"])


def test_a_second_entry_of_a_card_does_not_count_while_it_cannot_say_where_it_is() -> None:
    first, second = (but(warboy(index), pci=A) for index in (0, 1))
    memory = after(node(first, second), node(first, unreadable(but(second, pci=None), "busname")))
    assert (indexes(memory), left_out(memory)) == ([0], ["npu1"])


# -- always -----------------------------------------------------------------------------------------------------------


def keys(cards: tuple[Device, ...]) -> list[CardKey]:
    return [card.key for card in cards]


@given(st.lists(devices(), max_size=4, unique_by=lambda card: card.key))
def test_every_card_counts_or_has_a_reason_why_not(cards: list[Device]) -> None:
    found, others = counted(cards)
    told = [(card.arch, card.name) for card in found] + [(card.arch, card.name) for card in others]
    assert sorted(told) == sorted((card.arch, card.name) for card in cards)


looks = st.one_of(
    host_errors(),
    st.builds(Facts, st.lists(devices(), max_size=3).map(tuple), st.sampled_from([None, Machine(), MACHINE])),
)


@given(st.lists(looks, max_size=8))
def test_a_count_of_zero_takes_two_looks_and_any_other_is_that_of_the_last_good_look_with_cards(
    seen: list[Facts | HostError],
) -> None:
    memory = after(*seen)
    counts = [counted(look.devices)[0] for look in seen if isinstance(look, Facts)]
    with_cards = [cards for cards in counts if cards]
    expected = [] if counts[-2:] == [(), ()] else keys(with_cards[-1]) if with_cards else None
    assert (memory.facts and keys(memory.facts.devices)) == expected
    assert (memory.failed is not None) is (bool(seen) and isinstance(seen[-1], HostError))
