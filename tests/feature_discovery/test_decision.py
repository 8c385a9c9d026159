"""What is believed of the looks at a host."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import CardKey, Device, PciAddress
from npu_core.errors import AccessDeniedError, HostError, Reason, StuckError, Unreadable
from npu_core.machine import Machine
from npu_core.parse.mgmt import EVERY_ATTRIBUTE
from npu_feature_discovery.decision import Memory, counted
from npu_feature_discovery.labels import Facts
from testkit.strategies import devices, host_errors
from tests.feature_discovery.facts import MACHINE, node, rngd, version, warboy

REFUSED = AccessDeniedError("EACCES (Permission denied)", path="/sys/class/npu_mgmt")


def after(*looks: Facts | HostError) -> Memory:
    memory = Memory()
    for look in looks:
        memory = memory.after(look)
    return memory


def unreadable(device: Device, *subjects: str, reason: Reason = Reason.IO) -> Device:
    """``device`` with a note for each subject; the fields themselves are as given."""
    return replace(device, unreadable=tuple(Unreadable(device.name, subject, reason, "EIO") for subject in subjects))


# Looks


def test_before_the_first_look_nothing_is_known() -> None:
    assert Memory() == Memory(facts=None, failed=None, empty_looks=0)
    assert not Memory().unsettled


def test_what_is_seen_is_believed_at_once() -> None:
    assert after(node(warboy(0), rngd(0))).facts == node(warboy(0), rngd(0))
    assert not after(node(warboy(0))).unsettled


def test_a_card_more_and_a_card_less_are_believed_at_once() -> None:
    assert after(node(warboy(0)), node(warboy(0), warboy(1))).facts == node(warboy(0), warboy(1))
    assert after(node(warboy(0), warboy(1)), node(warboy(1))).facts == node(warboy(1))


# No card


def test_one_look_without_a_card_changes_nothing_and_wants_another() -> None:
    memory = after(node(warboy()), node())
    assert memory.facts == node(warboy())
    assert memory.unsettled


def test_two_looks_in_a_row_without_a_card_are_believed() -> None:
    memory = after(node(warboy()), node(), node())
    assert memory.facts == node()
    assert not memory.unsettled


def test_a_node_that_never_had_a_card_is_believed_at_the_second_look() -> None:
    assert after(node()) == Memory(facts=None, failed=None, empty_looks=1)
    assert after(node(), node()).facts == node()


def test_a_card_between_two_empty_looks_starts_the_count_again() -> None:
    memory = after(node(), node(warboy()), node())
    assert memory.facts == node(warboy())
    assert memory.unsettled


def test_an_empty_node_stays_settled() -> None:
    assert after(*[node()] * 5) == after(node(), node())


def test_the_first_card_of_an_empty_node_is_believed_at_once() -> None:
    assert after(node(), node(), node(warboy())).facts == node(warboy())


# Failures


def test_a_look_that_fails_keeps_what_was_known_and_says_why() -> None:
    memory = after(node(warboy()), REFUSED)
    assert memory.facts == node(warboy())
    assert memory.failed == "/sys/class/npu_mgmt: EACCES (Permission denied)"


def test_a_first_look_that_fails_makes_nothing_known() -> None:
    assert after(REFUSED, REFUSED) == Memory(facts=None, failed=str(REFUSED))


def test_no_number_of_failures_means_that_there_is_no_card() -> None:
    assert after(node(warboy()), *[REFUSED] * 100).facts == node(warboy())


@pytest.mark.parametrize("failures", [1, 2, 10])
def test_failures_between_two_empty_looks_neither_count_nor_reset(failures: int) -> None:
    between = after(node(warboy()), node(), *[REFUSED] * failures)
    assert between.facts == node(warboy())
    assert not between.unsettled
    assert between.after(node()).facts == node()


def test_a_good_look_ends_a_failure() -> None:
    assert after(REFUSED, node(warboy())).failed is None
    assert after(node(warboy()), REFUSED, node()).failed is None


# Facts that cannot be read this time


@pytest.mark.parametrize(
    ("field", "subject"),
    [("product", "device_type"), ("product", "soc_rev"), ("driver", "version"), ("firmware", "fw_version")],
)
def test_a_fact_that_cannot_be_read_stays_what_it_was(field: str, subject: str) -> None:
    known = warboy()
    silent = unreadable(replace(known, **{field: None}), subject)  # type: ignore[arg-type]  # None fits each of them
    memory = after(node(known), node(silent))
    assert memory.facts == node(unreadable(known, subject))
    assert memory.after(node(silent)) == memory


@pytest.mark.parametrize("field", ["product", "driver", "firmware"])
def test_a_fact_that_is_not_there_any_more_is_gone(field: str) -> None:
    silent = replace(warboy(), **{field: None})  # type: ignore[arg-type]  # None fits each of them
    assert after(node(warboy()), node(silent)).facts == node(silent)
    other = unreadable(silent, "numa_node", "busname", "device_uuid")
    assert after(node(warboy()), node(other)).facts == node(other)


def test_a_card_of_which_nothing_can_be_read_stays_what_it_was() -> None:
    silent = warboy(product=None, driver=None, firmware=None)
    assert after(node(warboy()), node(unreadable(silent, EVERY_ATTRIBUTE))).facts == node(
        unreadable(warboy(), EVERY_ATTRIBUTE)
    )


def test_a_card_that_does_not_answer_stays_what_it_was() -> None:
    silent = warboy(product=None, driver=None, firmware=None)
    stuck = replace(silent, unreadable=(Unreadable.of("npu0", "whatever", StuckError("no answer in 2 s")),))
    memory = after(node(warboy(), rngd()), node(stuck, rngd(driver="2026.2.0")))
    assert memory.facts == node(replace(warboy(), unreadable=stuck.unreadable), rngd(driver="2026.2.0"))


def test_a_card_that_could_never_be_read_is_there_and_unknown() -> None:
    stuck = unreadable(warboy(product=None, driver=None, firmware=None), EVERY_ATTRIBUTE, reason=Reason.STUCK)
    assert after(node(stuck)).facts == node(stuck)
    assert after(node(warboy(1)), node(stuck, warboy(1))).facts == node(stuck, warboy(1))


def test_cards_of_two_families_with_one_number_are_not_taken_for_each_other() -> None:
    silent = unreadable(rngd(0, None, None), EVERY_ATTRIBUTE)
    assert after(node(warboy(0)), node(silent)).facts == node(silent)


@pytest.mark.parametrize("field", ["uuid", "serial"])
def test_another_card_with_the_same_number_inherits_nothing(field: str) -> None:
    one, other = (replace(warboy(), **{field: text}) for text in ("A", "B"))  # type: ignore[arg-type]  # both are text
    silent = unreadable(replace(other, product=None), "soc_rev")
    assert after(node(one), node(silent)).facts == node(silent)
    unsure = unreadable(replace(silent, **{field: None}), "soc_rev")  # type: ignore[arg-type]  # as above
    assert after(node(one), node(unsure)).facts == node(replace(unsure, product="warboy"))


@pytest.mark.parametrize("field", ["uuid", "serial"])
def test_a_card_that_says_for_the_first_time_who_it_is_is_the_same_card(field: str) -> None:
    named = replace(warboy(), **{field: "A"})  # type: ignore[arg-type]  # both are text
    silent = unreadable(replace(named, product=None), "soc_rev")
    assert after(node(warboy()), node(silent)).facts == node(replace(silent, product="warboy"))


def test_a_card_that_was_away_inherits_nothing() -> None:
    silent = unreadable(warboy(0, None), "soc_rev")
    assert after(node(warboy(0), warboy(1)), node(warboy(1)), node(silent, warboy(1))).facts == node(silent, warboy(1))


def test_what_can_be_read_again_is_believed() -> None:
    silent = unreadable(warboy(driver=None), "version")
    updated = warboy(driver="1.9.8, 0000000")
    assert after(node(warboy()), node(silent), node(updated)).facts == node(updated)


def test_a_fact_survives_a_first_empty_look_and_a_failure() -> None:
    silent = unreadable(warboy(driver=None), "version")
    memory = after(node(warboy()), node(), REFUSED, node(silent))
    assert memory.facts is not None
    assert memory.facts.devices[0].driver == version("1.3.0, 57ac7b0")


def test_a_machine_that_cannot_be_read_stays_what_it_was() -> None:
    assert after(node(warboy()), node(warboy(), machine=None)).facts == node(warboy())
    assert after(node(warboy()), node(machine=None), node(machine=None)).facts == node()
    assert after(node(warboy(), machine=None)).facts == node(warboy(), machine=None)


def test_a_machine_that_says_something_else_is_believed() -> None:
    assert after(node(), node(), node(machine=Machine("Other"))).facts == node(machine=Machine("Other"))


# Always

# Cards that do not count

A = PciAddress.parse("0000:17:00.0")
VIRTUAL, SECOND_VIRTUAL = PciAddress.parse("0000:17:00.1"), PciAddress.parse("0000:17:00.2")


def keys(memory: Memory) -> list[CardKey]:
    assert memory.facts is not None
    return [card.key for card in memory.facts.devices]


def reasons(memory: Memory) -> dict[str, str]:
    return {card.name: card.reason for card in memory.not_counted}


def test_a_card_none_of_whose_core_files_exists_here_does_not_count() -> None:
    memory = after(node(warboy(0), replace(warboy(1), files=())))
    assert keys(memory) == [(Arch.WARBOY, 0)]
    assert reasons(memory) == {"npu1": "none of its core device files exists here"}


def test_a_card_whose_core_files_could_not_be_looked_at_counts() -> None:
    unsure = replace(warboy(1), files=(), unreadable=(Unreadable("npu1", "/dev/npu1pe0", Reason.ACCESS, "EACCES"),))
    assert after(node(warboy(0), unsure)).not_counted == ()


def test_where_the_hosts_device_files_are_not_seen_nothing_is_concluded_from_them() -> None:
    memory = Memory(sees_device_files=False).after(node(replace(warboy(0), files=())))
    assert keys(memory) == [(Arch.WARBOY, 0)]


def test_a_card_that_lost_its_files_stops_counting_and_counts_again_with_what_was_known() -> None:
    bare = unreadable(replace(warboy(1), files=(), product=None), "device_type")
    memory = after(node(warboy(0), warboy(1)), node(warboy(0), bare))
    assert keys(memory) == [(Arch.WARBOY, 0)]
    memory = memory.after(node(warboy(0), replace(bare, files=warboy(1).files)))
    assert memory.facts == node(warboy(0), unreadable(warboy(1), "device_type"))
    assert memory.not_counted == ()


def test_a_node_where_no_card_counts_is_believed_at_the_second_look() -> None:
    bare = replace(warboy(0), files=())
    memory = after(node(warboy(0)), node(bare))
    assert (memory.facts, memory.unsettled, memory.not_counted) == (node(warboy(0)), True, ())
    memory = memory.after(node(bare))
    assert (memory.facts, list(reasons(memory))) == (node(), ["npu0"])


def test_a_second_entry_of_a_card_does_not_count() -> None:
    memory = after(node(*(replace(warboy(index), pci=A, dev="509:0") for index in (2, 0, 1))))
    assert keys(memory) == [(Arch.WARBOY, 0)]
    assert reasons(memory) == dict.fromkeys(["npu2", "npu1"], "it is the same hardware as npu0")


def test_a_second_entry_of_a_card_does_not_count_while_it_cannot_say_where_it_is() -> None:
    first, second = (replace(warboy(index), pci=A) for index in (0, 1))
    silent = unreadable(replace(second, pci=None), "busname")
    memory = after(node(first, second), node(first, silent))
    assert (keys(memory), list(reasons(memory))) == ([(Arch.WARBOY, 0)], ["npu1"])


def test_a_physical_function_counts_and_its_virtual_functions_do_not() -> None:
    virtual = replace(warboy(0), pci=VIRTUAL, physical_function=A)
    memory = after(node(virtual, replace(warboy(1), pci=A)))
    assert (keys(memory), reasons(memory)) == ([(Arch.WARBOY, 1)], {"npu0": "it is the same hardware as npu1"})


def test_virtual_functions_count_where_their_physical_function_cannot_be_used() -> None:
    physical = replace(warboy(0), pci=A, files=())
    functions = [
        replace(warboy(index), pci=pci, physical_function=A) for index, pci in ((1, VIRTUAL), (2, SECOND_VIRTUAL))
    ]
    assert keys(after(node(*functions))) == keys(after(node(physical, *functions)))
    assert keys(after(node(physical, *functions))) == [(Arch.WARBOY, 1), (Arch.WARBOY, 2)]


def test_a_look_that_fails_changes_nothing_that_counts() -> None:
    memory = after(node(warboy(0), replace(warboy(1), files=())))
    assert replace(memory.after(REFUSED), failed=None) == memory


@given(st.lists(devices(), max_size=4, unique_by=lambda card: card.key))
def test_every_card_counts_or_has_a_reason_why_not(cards: list[Device]) -> None:
    found, left_out = counted(cards)
    told = {(card.arch, card.name) for card in found} | {(card.arch, card.name) for card in left_out}
    assert told == {(card.arch, card.name) for card in cards}
    assert len(found) + len(left_out) == len(cards)


looks = st.one_of(
    host_errors(),
    st.builds(Facts, st.lists(devices(), max_size=3).map(tuple), st.sampled_from([None, Machine(), MACHINE])),
)


@given(st.lists(looks, max_size=8))
def test_a_count_of_zero_takes_two_looks_and_any_other_is_that_of_the_last_good_look_with_cards(
    seen: list[Facts | HostError],
) -> None:
    memory = after(*seen)
    good = [look for look in seen if isinstance(look, Facts)]
    counts = [counted(look.devices)[0] for look in good]
    with_cards = [cards for cards in counts if cards]
    if len(good) >= 2 and not counts[-1] and not counts[-2]:
        assert memory.facts is not None
        assert memory.facts.devices == ()
    elif with_cards:
        assert memory.facts is not None
        assert [card.key for card in memory.facts.devices] == [card.key for card in with_cards[-1]]
    else:
        assert memory.facts is None


@given(st.lists(looks, min_size=1, max_size=8))
def test_a_failure_is_reported_as_long_as_it_is_the_last_look(seen: list[Facts | HostError]) -> None:
    assert (after(*seen).failed is not None) is isinstance(seen[-1], HostError)
    assert not (after(*seen).failed and after(*seen).unsettled)
