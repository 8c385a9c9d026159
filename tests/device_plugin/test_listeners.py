"""Which streams may be the kubelet's, in every order in which clients come and go."""

from hypothesis import given
from hypothesis import strategies as st

from npu_device_plugin.kubelet.listeners import Listeners, Streams


def streams(opened: int, *numbers: int) -> Streams:
    return Streams(opened, frozenset(numbers))


def test_a_stream_from_before_the_registration_is_not_the_kubelets() -> None:
    listeners = Listeners(since=2)
    assert [listeners.may_be(number) for number in (1, 2, 3, 4)] == [False, False, True, True]
    assert not listeners.in_doubt(streams(2))
    assert not listeners.in_doubt(streams(3, 3))


def test_the_end_of_a_stream_that_may_be_the_kubelets_is_a_doubt() -> None:
    assert Listeners(since=2).in_doubt(streams(4, 3))
    assert Listeners(since=2).in_doubt(streams(4, 4))


def test_after_the_kubelet_has_shown_itself_streams_that_come_later_are_no_doubt() -> None:
    listeners = Listeners().confirmed(streams(2, 1), streams(2, 1))
    assert not listeners.in_doubt(streams(2, 1))
    assert not listeners.in_doubt(streams(9, 1))
    assert not listeners.in_doubt(streams(9, 1, 9))
    assert listeners.in_doubt(streams(9, 9))
    assert listeners.possible(streams(9, 9)) == 0


def test_a_stream_that_ended_while_the_kubelet_wrote_stays_a_doubt() -> None:
    assert Listeners().confirmed(streams(3, 1, 2), streams(3, 2)).in_doubt(streams(3, 2))


@given(st.data())
def test_the_end_of_the_kubelets_stream_never_goes_unnoticed(data: st.DataObject) -> None:
    """Clients open and close as they like; the kubelet shows itself only while its stream is open."""
    before = data.draw(st.integers(0, 3), label="streams before the registration")
    listeners, opened, live, kubelet = Listeners(since=before), before, set(range(1, before + 1)), 0

    def step(*, may_end_kubelet: bool) -> Streams:
        nonlocal opened, kubelet
        choice = data.draw(st.sampled_from(["open", "close", "kubelet"]))
        if choice == "open" or (choice == "kubelet" and not kubelet):
            opened += 1
            live.add(opened)
            kubelet = opened if choice == "kubelet" else kubelet
        elif ends := sorted(live - (set() if may_end_kubelet else {kubelet})):
            live.discard(data.draw(st.sampled_from(ends)))
        return streams(opened, *live)

    for _ in range(data.draw(st.integers(0, 12))):
        seen = step(may_end_kubelet=False)
        if kubelet and data.draw(st.booleans(), label="the kubelet writes"):
            listeners = listeners.confirmed(seen, step(may_end_kubelet=data.draw(st.booleans())))
        if kubelet and kubelet not in live:
            break
    live.discard(kubelet)
    if kubelet:
        assert listeners.may_be(kubelet)
        assert listeners.in_doubt(streams(opened, *live))
