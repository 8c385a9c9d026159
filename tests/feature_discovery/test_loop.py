"""The loop, turn by turn: when it looks, what it publishes, and what it makes of failures."""

import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.testing import EIO, FakeHost, second_entry, warboy
from npu_feature_discovery import loop
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.table import Facts, labels_of
from testkit.waiting import PATIENCE, until
from tests.feature_discovery.rigs import INTERVAL, Rig, told, unreachable


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path, warboy(0), warboy(1))


@pytest.fixture
def rig(host: FakeHost) -> Iterator[Rig]:
    rig = Rig(host)
    yield rig
    rig.hung.release()


def looks(rig: Rig) -> int:
    return len(rig.facts)


def test_the_first_turn_looks_and_publishes(rig: Rig) -> None:
    rig.discovery.turn()
    assert rig.last("npu.count", "npu.product") == ("2", "warboyB0")
    assert not rig.discovery.condition().why_not_ready


def test_what_is_new_is_looked_at_twice_and_then_only_each_interval(rig: Rig) -> None:
    rig.turns(4)
    assert looks(rig) == 2
    rig.turns(int(INTERVAL) - 10)
    assert looks(rig) == 2
    rig.turns(10)
    assert looks(rig) == 3
    assert rig.sink.attempts == 3
    assert len(rig.sink.published) == 1


def test_a_card_that_comes_or_goes_is_looked_at_at_once(rig: Rig, host: FakeHost) -> None:
    rig.turns(5)
    host.plug(warboy(2))
    rig.discovery.turn()
    assert rig.last("npu.count") == ("3",)
    host.card(Arch.WARBOY, 0).disappear()
    rig.discovery.turn()
    assert rig.last("npu.count") == ("2",)


def test_no_card_is_believed_at_the_second_look(rig: Rig, host: FakeHost) -> None:
    rig.turns(5)
    for card in host.cards:
        card.disappear()
    rig.turns(2)
    assert list(rig.counts()) == ["2"]
    rig.turns(1)
    assert list(rig.counts()) == ["2", "0"]


def test_a_host_without_cards_is_published_as_such(tmp_path: Path) -> None:
    rig = Rig(FakeHost(tmp_path))
    rig.discovery.turn()
    assert rig.sink.published == []
    assert rig.discovery.condition().why_not_ready
    rig.clock.pass_(2.0)
    rig.discovery.turn()
    assert rig.last("npu.count", "npu.product") == ("0", None)
    assert not rig.discovery.condition().why_not_ready


# -- failures of the host ---------------------------------------------------------------------------------------------


def test_a_host_that_cannot_be_listed_keeps_its_labels_and_is_not_ready(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig.turns(5)
    rig.fs.put("*/class/npu_mgmt", EIO)
    rig.turns(120)
    condition = rig.discovery.condition()
    assert not condition.why_not_alive
    assert "EIO" in condition.why_not_ready
    assert list(rig.counts()) == ["2"]
    assert 3 < rig.telemetry.failures["look"] < 12  # it backs off
    assert caplog.messages.count(Event.CANNOT_LOOK) == 1
    rig.fs.clear()
    rig.turns(1)
    assert not rig.discovery.condition().why_not_ready
    assert caplog.messages.count(Event.CAN_LOOK) == 1


def test_a_listing_that_hangs_is_said_once_however_long_that_takes(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.turns(5)
    caplog.clear()
    rig.fs.put("*/class/npu_mgmt", rig.hung)
    rig.turns(60)
    assert rig.telemetry.failures["look"] > 2
    assert caplog.messages == [Event.CANNOT_LOOK]
    assert list(rig.counts()) == ["2"]


def test_device_files_that_come_or_go_are_looked_at_at_once(rig: Rig, host: FakeHost) -> None:
    rig.turns(5)
    host.card(Arch.WARBOY, 1).remove_files()
    rig.turns(1)
    assert rig.last("npu.count") == ("1",)
    list(host.card(Arch.WARBOY, 1).make_files())
    rig.turns(1)
    assert list(rig.counts()) == ["2", "1", "2"]


def test_a_card_that_does_not_count_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = FakeHost(tmp_path, warboy(0), second_entry(warboy(0), 1), warboy(2))
    host.card(Arch.WARBOY, 2).remove_files()
    rig = Rig(host)
    rig.turns(int(3 * INTERVAL))
    assert list(rig.counts()) == ["1"]
    assert [(event, fields["card"]) for event, fields in told(caplog)] == [
        (Event.CARD_NOT_COUNTED, "npu1"),
        (Event.CARD_NOT_COUNTED, "npu2"),
    ]


def test_a_card_that_hangs_costs_the_others_nothing_and_is_looked_at_when_it_is_back(rig: Rig) -> None:
    rig.fs.put("*/npu1_mgmt/*", rig.hung)
    rig.discovery.turn()
    assert rig.last("npu.count", "npu.product") == ("2", "warboyB0")
    assert rig.discovery.condition().stuck == 1
    rig.turns(3)
    seen = looks(rig)
    rig.turns(5)
    assert looks(rig) == seen
    rig.fs.clear()
    rig.hung.release()

    def is_back() -> bool:
        rig.turns(1, every=0.01)
        return not rig.discovery.condition().stuck

    until(is_back, "the card is back")
    assert looks(rig) > seen


def test_a_look_that_fails_as_none_should_is_said_counted_and_tried_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    times = itertools.count()

    def strange(path: str) -> str:
        raise RuntimeError(f"{path} {next(times)}")

    rig.turns(5)
    rig.fs.put("*/class/npu_mgmt", strange)
    rig.turns(60)
    assert rig.telemetry.failures["unforeseen"] > 1
    assert caplog.messages.count(Event.LOOK_FAILED) == 1
    assert rig.discovery.condition().why_not_ready
    rig.fs.clear()
    rig.turns(int(INTERVAL))
    assert not rig.discovery.condition().why_not_ready


# -- failures of the sink ---------------------------------------------------------------------------------------------


def test_a_sink_that_fails_is_tried_again_later_each_time_and_said_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig.sink.failing = unreachable()
    rig.turns(120)
    assert 5 < rig.sink.attempts < 15
    assert rig.telemetry.failures == {"unreachable": rig.sink.attempts}
    assert caplog.messages.count(Event.CANNOT_PUBLISH) == 1
    assert "nobody answers" in rig.discovery.condition().why_not_ready
    rig.sink.failing = None
    rig.turns(61)
    assert caplog.messages.count(Event.CAN_PUBLISH) == 1
    assert caplog.messages.count(Event.PUBLISHED) == 1
    assert not rig.discovery.condition().why_not_ready


def test_a_sink_that_doubts_is_asked_at_once_and_not_with_the_next_look(rig: Rig) -> None:
    rig.turns(5)
    attempts = rig.sink.attempts
    rig.sink.doubting = True
    rig.turns(1)
    assert rig.sink.attempts == attempts + 1
    assert looks(rig) == 2


def test_a_sink_that_doubts_and_fails_is_left_alone_until_its_time(rig: Rig) -> None:
    rig.turns(5)
    attempts = rig.sink.attempts
    rig.sink.doubting, rig.sink.failing = True, unreachable(retry_after=20.0)
    rig.turns(20)
    assert rig.sink.attempts == attempts + 1


def test_a_sink_that_fails_as_none_should_does_not_end_the_loop(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.sink.failing = RuntimeError("what now")
    rig.turns(30)
    assert rig.telemetry.failures["unforeseen"] == rig.sink.attempts > 1
    assert caplog.messages.count(Event.PUBLICATION_FAILED) == 1


# -- from other threads -----------------------------------------------------------------------------------------------


def test_asked_to_it_looks_at_once_and_trusts_nothing(rig: Rig) -> None:
    rig.sink.failing = unreachable(retry_after=1000.0)
    rig.turns(5)
    rig.sink.failing = None
    rig.discovery.look_again()
    rig.discovery.turn()
    assert rig.sink.forgotten == 1
    assert rig.last("npu.count") == ("2",)


def test_a_sink_that_doubts_before_the_next_glance_is_asked_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "POLL_INTERVAL", 3600.0)
    rig.sink.doubting = True
    thread = threading.Thread(target=rig.discovery.run)
    thread.start()
    until(lambda: rig.sink.attempts >= 5, "five attempts")
    rig.discovery.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_loop_that_does_not_turn_is_not_alive(rig: Rig) -> None:
    rig.turns(1)
    rig.clock.pass_(PATIENCE)
    condition = rig.discovery.condition()
    assert condition.why_not_alive == condition.why_not_ready != ""


# -- once -------------------------------------------------------------------------------------------------------------


def test_once_publishes_and_says_so(rig: Rig) -> None:
    assert rig.discovery.once()
    assert (looks(rig), rig.sink.attempts) == (1, 1)


def test_once_looks_twice_at_nothing(tmp_path: Path) -> None:
    rig = Rig(FakeHost(tmp_path))
    assert rig.discovery.once()
    assert rig.last("npu.count") == ("0",)


def test_once_publishes_nothing_where_it_cannot_look(rig: Rig) -> None:
    rig.fs.put("*/sys", EIO)
    assert not rig.discovery.once()
    assert rig.sink.attempts == 0


def test_a_card_replaced_by_one_that_hangs_inherits_nothing_once_this_process_knew_the_first(
    rig: Rig, host: FakeHost
) -> None:
    rig.sink.published.append(labels_of(Facts(host.open().inventory().devices, host.open().machine())))
    rig.turns(2)
    assert rig.last("npu.product", "driver.version") == ("warboyB0", "1.9.2")
    rig.fs.put("*/npu1_mgmt/version", EIO)
    rig.fs.put("*/npu0_mgmt/version", EIO)
    for card in host.cards:
        card.disappear()
    rig.turns(4, every=60.0)
    for card in host.cards:
        card.reappear()
    rig.turns(2)
    assert rig.last("npu.count", "npu.product", "driver.version") == ("2", "warboyB0", None)
