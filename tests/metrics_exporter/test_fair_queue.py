"""Whose turn is next, so that no client address keeps the others waiting."""

from hypothesis import given
from hypothesis import strategies as st

from npu_core.service.http.room import origin
from npu_metrics_exporter.web.fair_queue import HEAD_START, FairQueue

A, B, C = b"a", b"b", b"c"


def taken(queue: FairQueue[str]) -> list[str]:
    """All items in the order of their turns, a millisecond for each."""
    items: list[str] = []
    while (item := queue.take(0.001 * len(items))) is not None:
        items.append(item)
    return items


def test_addresses_take_turns_and_each_keeps_its_order() -> None:
    queue: FairQueue[str] = FairQueue(room=10)
    for who, item in ((A, "a1"), (A, "a2"), (A, "a3"), (B, "b1"), (C, "c1"), (B, "b2")):
        queue.put(who, item, 0.0)
    assert taken(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


def test_who_was_not_served_lately_goes_before_all_who_were() -> None:
    queue: FairQueue[str] = FairQueue(room=100)
    for number in range(20):
        queue.put(str(number).encode(), f"first {number}", 0.0)
    taken(queue)
    for number in range(20):
        queue.put(str(number).encode(), f"second {number}", 1.0)
    queue.put(A, "new", 2.0)
    assert queue.take(2.0) == "new"


def test_addresses_without_end_do_not_keep_an_address_waiting_that_was_served_just_now() -> None:
    queue: FairQueue[str] = FairQueue(room=1000)
    queue.put(A, "before", 0.0)
    assert queue.take(0.0) == "before"
    queue.put(A, "waits", 0.0)
    order = []
    for second in range(int(2 * HEAD_START)):
        queue.put(b"%d" % second, f"new at {second}", float(second))
        order.append(queue.take(float(second)))
    assert "waits" in order


def test_a_full_queue_drops_the_newest_of_the_busiest_address() -> None:
    queue: FairQueue[str] = FairQueue(room=3)
    assert [queue.put(A, item, 0.0) for item in ("a1", "a2", "a3")] == [None, None, None]
    assert queue.put(B, "b1", 0.0) == "a3"
    assert queue.put(A, "a4", 0.0) == "a4"
    assert queue.put(B, "b2", 0.0) == "b2"
    assert taken(queue) == ["a1", "b1", "a2"]


def test_an_item_can_leave_before_its_turn_and_once_only() -> None:
    queue: FairQueue[str] = FairQueue(room=3)
    queue.put(A, "a1", 0.0)
    queue.put(A, "a2", 0.0)
    queue.discard(A, "a1")
    queue.discard(A, "a1")
    queue.discard(B, "a2")
    assert (len(queue), taken(queue)) == (1, ["a2"])


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.booleans()), max_size=60), st.integers(1, 5))
def test_whatever_comes_is_taken_or_dropped_once_and_no_more_wait_than_there_is_room(
    steps: list[tuple[bytes, bool]], room: int
) -> None:
    queue: FairQueue[int] = FairQueue(room)
    left: list[int] = []
    for number, (who, takes) in enumerate(steps):
        dropped = queue.put(who, number, float(number))
        item = queue.take(float(number)) if takes else None
        left += [each for each in (dropped, item) if each is not None]
        assert len(queue) <= room
    while (item := queue.take(99.0)) is not None:
        left.append(item)
    assert sorted(left) == list(range(len(steps)))


def test_an_origin_is_an_ipv4_address_or_a_network_of_ipv6() -> None:
    assert origin("10.0.0.1") == origin("::ffff:10.0.0.1") != origin("10.0.0.2")
    assert origin("2001:db8::1") == origin("2001:db8::ffff:1") != origin("2001:db8:0:1::1")
    assert origin("fe80::1%eth0") == origin("fe80::2")
    assert origin("") == b""
