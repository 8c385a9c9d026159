"""nfd-worker watches the directory. At the first event that names the feature file, the file is finished."""

import errno
import os
from pathlib import Path

import pytest

from npu_feature_discovery.sinks import Outcome
from npu_feature_discovery.sinks.feature_file import SCRATCH_DIR, FeatureFileSink
from testkit.standins.directory_watch import watch
from tests.feature_discovery.rigs import Clock, failure

ONE = {"beta.furiosa.ai/npu.count": "1"}
TWO = {"beta.furiosa.ai/npu.count": "2"}
FILE = "furiosa-npu-feature-discovery"


def _sink(directory: Path, clock: Clock) -> FeatureFileSink:
    return FeatureFileSink(str(directory / FILE), clock=clock)


def _told(names: list[str]) -> list[str]:
    """Without the events of a file that has no name yet: the kernel shows them as #123."""
    return [name for name in names if not name.startswith("#")]


def test_the_first_name_that_appears_is_that_of_the_finished_file(tmp_path: Path) -> None:
    with watch(tmp_path) as events:
        assert _sink(tmp_path, Clock()).publish(ONE) is Outcome.CREATED
        assert _told(events.names())[0] == FILE


def test_a_change_is_a_single_event(tmp_path: Path) -> None:
    clock = Clock()
    sink = _sink(tmp_path, clock)
    sink.publish(ONE)
    clock.now += 1
    sink.publish(ONE)
    with watch(tmp_path) as events:
        assert sink.publish(TWO) is Outcome.UPDATED
        assert events.names() == [FILE]


def test_without_files_that_have_no_name_the_file_comes_by_the_hidden_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0 is a flag of no meaning: as a directory, it cannot be opened for writing, which is what old kernels say.
    monkeypatch.setattr(os, "O_TMPFILE", 0)
    assert _sink(tmp_path, Clock()).publish(ONE) is Outcome.CREATED
    assert sorted(path.name for path in tmp_path.iterdir()) == [SCRATCH_DIR, FILE]


@pytest.mark.parametrize("deaf", [0.4, 1.0, 30.0])
@pytest.mark.parametrize("first", [ONE, TWO], ids=["written by this process", "found as it should be"])
def test_a_worker_that_was_deaf_is_told_before_twice_that_time_is_over(
    tmp_path: Path, deaf: float, first: dict[str, str]
) -> None:
    clock = Clock()
    _sink(tmp_path, clock).publish(first)
    sink = _sink(tmp_path, clock)
    sink.publish(TWO)
    begun = clock.now
    with watch(tmp_path) as events:
        while clock.now < begun + 300:
            clock.now += 0.125
            if sink.doubts_in() <= 0:
                assert sink.publish(TWO) is Outcome.UNCHANGED
            if FILE in events.names() and clock.now - begun > deaf:
                break
    assert clock.now - begun <= 2 * deaf


def test_no_worker_is_reminded_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    sink = _sink(tmp_path, clock)
    sink.publish(ONE)
    reminders = 0
    for _ in range(10_000):
        clock.now += 1
        if sink.doubts_in() <= 0:
            sink.publish(ONE)
            reminders += 1
    assert reminders == 14


@pytest.mark.parametrize(("call", "number"), [("utime", errno.EACCES), ("mkdir", errno.EROFS), ("mkdir", errno.ENOSPC)])
def test_a_reminder_that_fails_is_no_failure_of_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """As on a mount that became read-only, a full disk, or with a file of another user: the labels are in place."""
    clock = Clock()
    sink = _sink(tmp_path, clock)
    sink.publish(ONE)
    tried = 0

    def refuse(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    for _ in range(1000):
        clock.now += 1
        if sink.doubts_in() <= 0:
            assert sink.publish(ONE) is Outcome.UNCHANGED
    assert tried == 14


def test_a_file_that_goes_as_a_reader_is_reminded_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    sink = _sink(tmp_path, clock)
    sink.publish(ONE)
    clock.now += 1
    monkeypatch.setattr(FeatureFileSink, "_make_scratch_dir", lambda _: (tmp_path / FILE).unlink())
    failure(sink)
    monkeypatch.undo()
    assert sink.publish(ONE) is Outcome.CREATED
