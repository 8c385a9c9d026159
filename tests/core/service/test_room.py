"""Who makes room: decided on values alone."""

import pytest

from npu_core.service.http.room import Room, origin

HERE, THERE = b"10.0.0.1", b"10.0.0.2"


@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::1"),
        ("fe80::1%25%eth0", "fe80::2"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_addresses_that_one_machine_may_have_are_one_origin(address: str, other: str) -> None:
    assert origin(address) == origin(other)


@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("10.0.0.1", "10.0.0.2"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("::fffe:10.0.0.1", "::ffff:10.0.0.1"),
        ("0:1::1", "0:2::1"),
        ("a socket's path", "another one's"),
    ],
)
def test_addresses_of_different_machines_are_different_origins(address: str, other: str) -> None:
    assert origin(address) != origin(other)


def room(*guests: tuple[str, bytes, float]) -> Room[str]:
    made: Room[str] = Room()
    for guest, from_, since in guests:
        made.enter(guest, from_, since)
    return made


def test_an_empty_room_has_nobody_who_could_go() -> None:
    assert room().to_go() is None
    left = room(("a", HERE, 1))
    left.leave("a")
    left.leave("a")
    assert (left.to_go(), len(left), "a" in left, left.guests()) == (None, 0, False, [])


@pytest.mark.parametrize(
    ("guests", "goes"),
    [
        pytest.param([("a", HERE, 1), ("b", THERE, 2), ("c", THERE, 3)], "b", id="of the origin with most guests"),
        pytest.param([("a", HERE, 2), ("b", THERE, 1)], "b", id="of equal origins the one that waits longest"),
        pytest.param([("b", THERE, 1), ("a", HERE, 2)], "b", id="in any order"),
        pytest.param([("a", HERE, 1), ("b", HERE, 2), ("a", HERE, 3)], "b", id="who did something waits from then on"),
    ],
)
def test_the_longest_guest_of_the_largest_origin_goes(guests: list[tuple[str, bytes, float]], goes: str) -> None:
    assert room(*guests).to_go() == goes


def test_an_origin_whose_guests_left_has_no_burden() -> None:
    changed = room(("a", HERE, 1), ("b", HERE, 2), ("c", THERE, 3))
    changed.leave("a")
    changed.leave("b")
    assert (changed.to_go(), changed.guests(), len(changed), "c" in changed) == ("c", ["c"], 1, True)


def test_a_spared_guest_goes_only_if_all_of_the_origin_are_spared() -> None:
    full = room(("a", HERE, 1), ("b", HERE, 2), ("c", THERE, 0))
    assert full.to_go(lambda guest: guest == "a") == "b"
    assert full.to_go(lambda _: True) == "a"
