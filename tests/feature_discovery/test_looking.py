"""Looks at a host: what they give where a card hangs, is strange, or is none."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.errors import ExhaustedError, HostError, Reason, StuckError
from npu_core.testing import EIO, Blocked, FakeHost, FaultyFS, rngd, warboy
from npu_feature_discovery.looking import Looker
from testkit.refused_threads import no_more_threads

DEADLINE = 0.3
A_WHILE = 10.0


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path, warboy(0), warboy(1), rngd(0))


@pytest.fixture
def fs() -> FaultyFS:
    return FaultyFS()


@pytest.fixture
def looker(host: FakeHost, fs: FaultyFS) -> Looker:
    return Looker(host.open(fs), deadline=DEADLINE)


@pytest.fixture
def hung(fs: FaultyFS) -> Iterator[Blocked]:
    """The first Warboy card hangs until it is released."""
    blocked = Blocked()
    fs.put("*/npu0_mgmt/device_type", blocked)
    yield blocked
    blocked.release()


def test_a_look_gives_what_the_host_has(looker: Looker, host: FakeHost) -> None:
    look = looker.look()
    assert look.facts.devices == host.open().inventory().devices
    assert look.facts.machine == host.open().machine()
    assert look.sight == looker.glance()
    assert looker.stuck() == frozenset()


def test_a_glance_asks_no_card_anything(looker: Looker, fs: FaultyFS) -> None:
    assert {key for key, _, _ in looker.glance()} == {(Arch.WARBOY, 0), (Arch.WARBOY, 1), (Arch.RENEGADE, 0)}
    assert fs.reads == []


@pytest.mark.usefixtures("hung")
def test_a_card_that_hangs_is_among_the_cards_and_holds_a_look_up_only_once(looker: Looker) -> None:
    begun = time.monotonic()
    look = looker.look()
    assert DEADLINE <= time.monotonic() - begun < A_WHILE
    bare = look.facts.devices[0]
    assert (bare.key, bare.product) == ((Arch.WARBOY, 0), None)
    assert [item.reason for item in bare.unreadable] == [Reason.STUCK]
    assert [device.product for device in look.facts.devices[1:]] == ["warboyB0", "rngd"]
    assert looker.stuck() == {(Arch.WARBOY, 0)}
    begun = time.monotonic()
    assert looker.look().facts.devices[0].product is None
    assert time.monotonic() - begun < DEADLINE


def test_a_card_that_hangs_is_said_once_and_again_when_it_answers(
    looker: Looker, hung: Blocked, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    looker.look()
    looker.look()
    assert caplog.messages == ["card does not answer"]
    fs.clear()
    hung.release()
    ends = time.monotonic() + A_WHILE
    while looker.stuck() and time.monotonic() < ends:
        time.sleep(0.01)
    assert looker.look().facts.devices[0].product == "warboyB0"
    assert caplog.messages == ["card does not answer", "card answers again"]


def test_a_card_that_is_strange_beyond_reason_costs_the_others_nothing(
    looker: Looker, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    def strange(path: str) -> str:
        raise RuntimeError(path)

    fs.put("*/npu0_mgmt/device_type", strange)
    looker.look()
    devices = looker.look().facts.devices
    assert [device.product for device in devices] == [None, "warboyB0", "rngd"]
    assert caplog.messages == ["a look at a card failed"]


def test_what_is_no_card_of_ours_is_not_counted_and_said_once(
    looker: Looker, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.card(Arch.WARBOY, 1).set_attribute("platform_type", "VITIS")
    looker.look()
    look = looker.look()
    assert [device.key for device in look.facts.devices] == [(Arch.WARBOY, 0), (Arch.RENEGADE, 0)]
    assert [card.name for card in look.rejected] == ["npu1"]
    assert caplog.messages == ["card not counted"]


def test_a_glance_sees_device_files_of_cores_come_and_go(looker: Looker, host: FakeHost) -> None:
    whole = looker.glance()
    card = host.card(Arch.WARBOY, 1)
    card.remove_file("ch0")
    card.remove_file("pe0")
    assert looker.glance() == whole
    card.remove_files()
    assert looker.glance() == looker.look().sight != whole
    list(card.make_files())
    assert looker.glance() == whole


@pytest.mark.usefixtures("hung")
def test_a_card_that_hangs_has_the_device_files_that_were_found_and_those_that_could_not_be_looked_at(
    looker: Looker, fs: FaultyFS
) -> None:
    fs.put("*/dev/npu0pe*", EIO)
    bare = looker.look().facts.devices[0]
    assert {file.suffix for file in bare.files} == {"", "_mgmt", "ch0", "ch1", "ch2", "ch3", "_bar0", "_bar2", "_bar4"}
    assert bare.has_core_file


def test_a_machine_that_does_not_answer_is_said_once_however_long_that_takes(
    looker: Looker, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = Blocked()
    fs.put("*/sys_vendor", blocked)
    try:
        for _ in range(3):
            looker.look()
    finally:
        blocked.release()
    assert caplog.messages == ["cannot read what machine this is"]


def test_a_card_whose_fault_is_worded_anew_each_time_is_said_once(
    looker: Looker, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    def strange(path: str) -> str:
        raise RuntimeError(f"{path} {time.monotonic_ns()}")

    fs.put("*/npu0_mgmt/device_type", strange)
    for _ in range(3):
        looker.look()
    assert caplog.messages == ["a look at a card failed"]


def test_a_machine_that_cannot_be_read_is_none_and_said_once(
    looker: Looker, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    fs.put("*/sys_vendor", EIO)
    assert [looker.look().facts.machine for _ in range(2)] == [None, None]
    assert caplog.messages == ["cannot read what machine this is"]


def test_a_host_that_cannot_be_listed_is_an_error(looker: Looker, fs: FaultyFS) -> None:
    fs.put("*/class/npu_mgmt", EIO)
    with pytest.raises(HostError, match="EIO"):
        looker.look()
    with pytest.raises(HostError, match="EIO"):
        looker.glance()


def test_a_listing_that_hangs_is_an_error(looker: Looker, fs: FaultyFS) -> None:
    blocked = Blocked()
    fs.put("*/class/npu_mgmt", blocked)
    try:
        with pytest.raises(StuckError, match="no answer within"):
            looker.look()
        with pytest.raises(StuckError, match="has not come back"):
            looker.glance()
    finally:
        blocked.release()


def test_a_card_that_is_gone_is_no_longer_stuck(looker: Looker, hung: Blocked, host: FakeHost) -> None:
    looker.look()
    host.card(Arch.WARBOY, 0).disappear()
    looker.look()
    assert looker.stuck() == frozenset()
    hung.release()


def test_a_system_that_refuses_threads_costs_nothing_while_one_is_idle(looker: Looker) -> None:
    looker.glance()
    with no_more_threads():
        look = looker.look()
    assert [card.key for card in look.facts.devices] == [(Arch.WARBOY, 0), (Arch.WARBOY, 1), (Arch.RENEGADE, 0)]
    assert all(card.product for card in look.facts.devices)
    assert look.facts.machine is not None


def test_cards_that_no_thread_is_left_for_count_and_are_not_asked(
    looker: Looker, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    """The first card takes the shared thread, the second the idle one; for the third there is none."""
    looker.look()
    hung = Blocked()
    for number in (0, 1):
        fs.put(f"*/npu{number}_mgmt/device_type", hung)
    with no_more_threads():
        looks = [looker.look()]
        with pytest.raises(ExhaustedError):
            looker.look()
    hung.release()
    fs.clear()
    assert {card.key: [item.reason for item in card.unreadable] for card in looks[0].facts.devices} == {
        (Arch.WARBOY, 0): [Reason.STUCK],
        (Arch.WARBOY, 1): [Reason.STUCK],
        (Arch.RENEGADE, 0): [Reason.EXHAUSTED],
    }
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]
    assert looker.stuck() <= {(Arch.WARBOY, 0), (Arch.WARBOY, 1)}
    ends = time.monotonic() + A_WHILE
    while not all(card.product for card in looker.look().facts.devices):
        assert time.monotonic() < ends
