"""Looks at a host: what they give where a card hangs, is strange, or is none."""

import itertools
import logging
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from npu_core.arch import Arch
from npu_core.errors import ExhaustedError, HostError, Reason, StuckError
from npu_core.testing import EIO, FakeHost, FaultyFS, rngd, warboy
from npu_feature_discovery.events import Event
from npu_feature_discovery.host_scan import HostScanner
from testkit.refused_threads import no_more_threads
from testkit.waiting import until
from tests.feature_discovery.rigs import Hung, told

FIRST, SECOND, THIRD = (Arch.WARBOY, 0), (Arch.WARBOY, 1), (Arch.RENEGADE, 0)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path, warboy(0), warboy(1), rngd(0))


@pytest.fixture
def fs() -> FaultyFS:
    return FaultyFS()


@pytest.fixture
def hung() -> Iterator[Hung]:
    hung = Hung()
    yield hung
    hung.release()


@pytest.fixture
def looker(host: FakeHost, fs: FaultyFS, hung: Hung) -> HostScanner:
    return HostScanner(host.open(fs), wait=hung.wait)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [event for event, _ in told(caplog)]


def test_a_look_gives_what_the_host_has(looker: HostScanner, host: FakeHost) -> None:
    look = looker.look()
    assert look.facts.devices == host.open().inventory().devices
    assert look.facts.machine == host.open().machine()
    assert look.sight == looker.glance()
    assert looker.stuck() == frozenset()


def test_a_glance_asks_no_card_anything(looker: HostScanner, fs: FaultyFS) -> None:
    assert {key for key, _, _ in looker.glance()} == {FIRST, SECOND, THIRD}
    assert fs.reads == []


def test_a_glance_sees_device_files_of_cores_come_and_go(looker: HostScanner, host: FakeHost) -> None:
    whole = looker.glance()
    card = host.card(*SECOND)
    card.remove_file("ch0")
    card.remove_file("pe0")
    assert looker.glance() == whole
    card.remove_files()
    assert looker.glance() == looker.look().sight != whole
    list(card.make_files())
    assert looker.glance() == whole


# -- what hangs -------------------------------------------------------------------------------------------------------


def test_a_card_that_hangs_is_among_the_cards_and_said_once_and_again_when_it_answers(
    looker: HostScanner, fs: FaultyFS, hung: Hung, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fs.put("*/npu0_mgmt/device_type", hung)
    fs.put("*/dev/npu0pe*", EIO)
    for _ in range(2):
        bare, *others = looker.look().facts.devices
        assert (bare.key, bare.product) == (FIRST, None)
        assert Reason.STUCK in {item.reason for item in bare.unreadable}
        assert bare.has_core_file  # those that could not be looked at may be there
        assert {file.suffix for file in bare.files} >= {"", "_mgmt", "ch0", "_bar4"}
        assert [device.product for device in others] == ["warboyB0", "rngd"]
        assert looker.stuck() == {FIRST}
    assert hung.readers == 1
    card = {"card": "npu0", "family": Arch.WARBOY}
    ((event, fields),) = told(caplog)
    assert event == Event.CARD_SILENT
    assert fields.items() > card.items()
    fs.clear()
    hung.release()
    until(lambda: not looker.stuck(), "the end of the read")
    assert looker.look().facts.devices[0].product == "warboyB0"
    assert told(caplog)[1:] == [(Event.CARD_ANSWERS, card)]


def test_a_card_that_is_gone_is_no_longer_stuck(looker: HostScanner, fs: FaultyFS, hung: Hung, host: FakeHost) -> None:
    fs.put("*/npu0_mgmt/device_type", hung)
    looker.look()
    host.card(*FIRST).disappear()
    looker.look()
    assert looker.stuck() == frozenset()


def test_a_listing_that_hangs_is_an_error(looker: HostScanner, fs: FaultyFS, hung: Hung) -> None:
    fs.put("*/class/npu_mgmt", hung)
    for ask in (looker.look, looker.glance):
        with pytest.raises(StuckError):
            ask()
    assert hung.readers == 1


def test_a_machine_that_hangs_or_cannot_be_read_is_none_and_said_once_for_each_reason(
    looker: HostScanner, fs: FaultyFS, hung: Hung, caplog: pytest.LogCaptureFixture
) -> None:
    fs.put("*/sys_vendor", EIO)
    assert [looker.look().facts.machine for _ in range(3)] == [None] * 3
    assert events(caplog) == [Event.MACHINE_UNKNOWN]
    fs.clear()
    fs.put("*/sys_vendor", hung)
    assert [looker.look().facts.machine for _ in range(3)] == [None] * 3
    assert events(caplog) == [Event.MACHINE_UNKNOWN] * 2


# -- what is strange --------------------------------------------------------------------------------------------------


def test_a_card_that_is_strange_beyond_reason_costs_the_others_nothing_and_is_said_once(
    looker: HostScanner, fs: FaultyFS, caplog: pytest.LogCaptureFixture
) -> None:
    times = itertools.count()

    def strange(path: str) -> str:
        raise RuntimeError(f"{path} {next(times)}")

    fs.put("*/npu0_mgmt/device_type", strange)
    for _ in range(3):
        assert [device.product for device in looker.look().facts.devices] == [None, "warboyB0", "rngd"]
    assert events(caplog) == [Event.CARD_FAILED]


def test_what_is_no_card_of_ours_is_not_counted_and_said_once(
    looker: HostScanner, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.card(*SECOND).set_attribute("platform_type", "VITIS")
    for _ in range(2):
        look = looker.look()
        assert [device.key for device in look.facts.devices] == [FIRST, THIRD]
        assert [card.name for card in look.rejected] == ["npu1"]
    assert events(caplog) == [Event.CARD_NOT_COUNTED]


def test_a_host_that_cannot_be_listed_is_an_error(looker: HostScanner, fs: FaultyFS) -> None:
    fs.put("*/class/npu_mgmt", EIO)
    for ask in (looker.look, looker.glance):
        with pytest.raises(HostError) as caught:
            ask()
        assert caught.value.reason is Reason.IO


# -- no threads -------------------------------------------------------------------------------------------------------


def test_a_system_that_refuses_threads_costs_nothing_while_one_is_idle(looker: HostScanner) -> None:
    looker.glance()
    with no_more_threads():
        look = looker.look()
    assert [card.key for card in look.facts.devices] == [FIRST, SECOND, THIRD]
    assert all(card.product for card in look.facts.devices)
    assert look.facts.machine is not None


def test_cards_that_no_thread_is_left_for_count_and_are_not_asked(
    host: FakeHost, fs: FaultyFS, hung: Hung, caplog: pytest.LogCaptureFixture
) -> None:
    """The first card takes the shared thread, the second the idle one; for the third there is none."""

    def wait(answers: "Collection[Future[Any]]", _: float) -> None:
        least = min(len(answers), 2)
        until(lambda: all(each.done() for each in answers) or hung.readers >= least, "answers, or hung reads")

    looker = HostScanner(host.open(fs), wait=wait)
    looker.look()
    for number in (0, 1):
        fs.put(f"*/npu{number}_mgmt/device_type", hung)
    with no_more_threads():
        devices = looker.look().facts.devices
        with pytest.raises(ExhaustedError):
            looker.look()
    assert {card.key: [item.reason for item in card.unreadable] for card in devices} == {
        FIRST: [Reason.STUCK],
        SECOND: [Reason.STUCK],
        THIRD: [Reason.EXHAUSTED],
    }
    assert events(caplog) == [Event.CARD_SILENT, Event.CARD_SILENT, Event.CARD_NOT_ASKED]
    assert looker.stuck() == {FIRST, SECOND}
    fs.clear()
    hung.release()
    until(lambda: not hung.readers, "the end of the reads")
    until(lambda: all(card.product for card in looker.look().facts.devices), "a look at every card")
