"""The feature file: whole or not at all, written only when it is not right, and what it says when it cannot be."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from npu_feature_discovery.labels.feature_text import parse, render
from npu_feature_discovery.sinks import FailureReason, Outcome
from npu_feature_discovery.sinks.feature_file import SCRATCH_DIR, FeatureFileSink, StandardOutputSink
from testkit.waiting import PATIENCE
from tests.feature_discovery.rigs import failure

ONE = {"beta.furiosa.ai/npu.count": "1"}
TWO = {"beta.furiosa.ai/npu.count": "2"}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "furiosa-npu-feature-discovery"


def identity(path: Path) -> tuple[int, int]:
    """Differs for every file that was ever written."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_a_file_is_made_changed_and_left_alone(path: Path) -> None:
    sink = FeatureFileSink(str(path))
    assert sink.publish(ONE) is Outcome.CREATED
    assert path.read_bytes() == render(ONE)
    assert sink.publish(TWO) is Outcome.UPDATED
    before = identity(path)
    assert sink.publish(TWO) is Outcome.UNCHANGED
    assert FeatureFileSink(str(path)).publish(TWO) is Outcome.UNCHANGED
    assert identity(path) == before


@pytest.mark.parametrize("mask", [0o000, 0o027, 0o077])
def test_everybody_may_read_it_whatever_the_umask(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        FeatureFileSink(str(path)).publish(ONE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nothing_but_the_file_and_an_empty_hidden_directory_is_there(path: Path) -> None:
    sink = FeatureFileSink(str(path))
    sink.publish(ONE)
    assert {each.name for each in path.parent.iterdir()} == {path.name}
    sink.publish(TWO)
    assert {each.name for each in path.parent.iterdir()} == {path.name, SCRATCH_DIR}
    assert list((path.parent / SCRATCH_DIR).iterdir()) == []


def test_what_somebody_did_to_it_is_undone(path: Path) -> None:
    sink = FeatureFileSink(str(path))
    sink.publish(ONE)
    path.unlink()
    assert sink.publish(ONE) is Outcome.CREATED
    path.chmod(0o600)
    assert sink.publish(ONE) is Outcome.UPDATED
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.write_bytes(render(ONE) + b"\n")
    assert sink.publish(ONE) is Outcome.UPDATED
    assert path.read_bytes() == render(ONE)


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(render(ONE))
    path.symlink_to(other)
    assert FeatureFileSink(str(path)).publish(ONE) is Outcome.UPDATED
    assert not path.is_symlink()
    FeatureFileSink(str(path)).publish(TWO)
    assert other.read_bytes() == render(ONE)


def test_what_a_killed_instance_left_behind_is_swept_by_the_first_publication(path: Path) -> None:
    FeatureFileSink(str(path)).publish(ONE)
    leftover = path.parent / SCRATCH_DIR / "furiosa-npu-feature-discovery-00"
    leftover.parent.mkdir()
    leftover.write_text("half")
    assert FeatureFileSink(str(path)).publish(ONE) is Outcome.UNCHANGED
    assert not leftover.exists()


# -- removing ---------------------------------------------------------------------------------------------------------


def test_removing_takes_away_all_that_is_ours_and_nothing_else(path: Path) -> None:
    others = path.with_name("somebody-elses")
    others.write_text("a=b\n")
    sink = FeatureFileSink(str(path))
    sink.publish(ONE)
    assert sink.remove() is Outcome.REMOVED
    assert list(path.parent.iterdir()) == [others]
    assert sink.remove() is Outcome.ABSENT


def test_another_sink_removes_the_file_only_if_it_is_ours(path: Path) -> None:
    sink = FeatureFileSink(str(path))
    assert sink.remove_if_ours() is Outcome.ABSENT
    path.write_text("feature.node.kubernetes.io/theirs=true\n")
    assert sink.remove_if_ours() is Outcome.ABSENT
    assert path.exists()
    sink.publish(ONE)
    assert sink.remove_if_ours() is Outcome.REMOVED


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_the_expiry_is_moved_when_half_of_it_is_over(path: Path) -> None:
    now = [NOON]
    sink = FeatureFileSink(str(path), TEN_MINUTES, lambda: now[0])
    sink.publish(ONE)
    assert path.read_text().splitlines()[0] == "# +expiry-time=2026-03-01T12:10:00Z"
    now[0] = NOON + timedelta(minutes=4, seconds=59)
    assert sink.publish(ONE) is Outcome.UNCHANGED
    now[0] = NOON + timedelta(minutes=5)
    assert sink.publish(ONE) is Outcome.UPDATED
    text = parse(path.read_bytes())
    assert text is not None
    assert text.expires == NOON + timedelta(minutes=15)


def test_an_expiry_that_a_wrong_clock_wrote_far_ahead_is_put_right(path: Path) -> None:
    FeatureFileSink(str(path), TEN_MINUTES, lambda: NOON + timedelta(days=1)).publish(ONE)
    assert FeatureFileSink(str(path), TEN_MINUTES, lambda: NOON).publish(ONE) is Outcome.UPDATED


# -- where it cannot be written ---------------------------------------------------------------------------------------


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    sink = FeatureFileSink(f"{tmp_path}/features.d/file")
    found = failure(sink)
    assert found.reason is FailureReason.NO_DIRECTORY
    assert f"{tmp_path}/features.d " in found.message
    (tmp_path / "features.d").mkdir()
    assert sink.publish(ONE) is Outcome.CREATED


def test_a_directory_in_the_place_of_the_file_is_a_failure_in_the_same_words_each_time(path: Path) -> None:
    path.mkdir()
    sink = FeatureFileSink(str(path))
    first, second = failure(sink), failure(sink)
    assert first.reason is FailureReason.IO
    assert str(path) in first.message
    assert first.message == second.message
    assert list((path.parent / SCRATCH_DIR).iterdir()) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EROFS, FailureReason.READ_ONLY),
        (errno.EACCES, FailureReason.NO_PERMISSION),
        (errno.EPERM, FailureReason.NO_PERMISSION),
        (errno.ENOSPC, FailureReason.NO_SPACE),
        (errno.EDQUOT, FailureReason.NO_SPACE),
        (errno.EIO, FailureReason.IO),
    ],
)
def test_what_the_system_says_has_a_reason_fit_for_a_metric(path: Path, code: int, reason: FailureReason) -> None:
    error = FeatureFileSink(str(path))._failure(OSError(code, os.strerror(code), str(path)))
    assert error.reason is reason
    assert str(path) in error.message


# The kernel's limit on the size of a file is as good as a full disk: the write falls short.
WITHOUT_SPACE = """
import resource, signal, sys
from npu_feature_discovery.sinks import SinkError
from npu_feature_discovery.sinks.feature_file import FeatureFileSink

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    FeatureFileSink(sys.argv[1]).publish({"beta.furiosa.ai/npu.count": "2"})
except SinkError as error:
    print(error.message)
"""


def test_a_full_disk_leaves_the_last_good_file_and_no_litter(path: Path) -> None:
    FeatureFileSink(str(path)).publish(ONE)
    command = [sys.executable, "-B", "-c", WITHOUT_SPACE, str(path)]
    assert "EFBIG" in subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert path.read_bytes() == render(ONE)
    assert list((path.parent / SCRATCH_DIR).iterdir()) == []


# -- standard output --------------------------------------------------------------------------------------------------


def test_standard_output_gets_the_labels_once_for_each_change() -> None:
    written: list[bytes] = []
    sink = StandardOutputSink(written.append)
    assert [sink.publish(labels) for labels in (ONE, ONE, TWO)] == [
        Outcome.CREATED,
        Outcome.UNCHANGED,
        Outcome.UPDATED,
    ]
    assert written == [render(ONE), render(TWO)]
    sink.forget()
    assert sink.publish(TWO) is Outcome.CREATED


def test_a_reader_of_standard_output_that_went_away_is_a_failure() -> None:
    def broken(_: bytes) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    assert failure(StandardOutputSink(broken)).reason is FailureReason.IO


# -- what stands in the way -------------------------------------------------------------------------------------------


def test_a_scratch_file_that_cannot_be_made_is_a_failure_of_its_directory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, make = FeatureFileSink(str(path)), os.open

    def full(name: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_WRONLY:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        return make(name, flags, mode)

    monkeypatch.setattr(os, "open", full)
    first, second = failure(sink), failure(sink)
    assert first.reason is FailureReason.NO_SPACE
    assert str(path.parent / SCRATCH_DIR) in first.message
    assert first.message == second.message  # the name of a scratch file is never the same


def test_a_link_in_the_place_of_the_scratch_directory_leads_nobody_away(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    scratch = path.parent / SCRATCH_DIR
    for take in (FeatureFileSink.remove, lambda sink: sink.publish(ONE)):
        scratch.symlink_to(elsewhere)
        take(FeatureFileSink(str(path)))
        assert list(elsewhere.iterdir()) == [elsewhere / "precious"]
        assert not scratch.is_symlink()
    assert path.read_bytes() == render(ONE)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to(path.name), os.mkfifo])
def test_what_is_no_directory_makes_way_for_the_scratch_directory(path: Path, make: Callable[[Path], object]) -> None:
    make(path.parent / SCRATCH_DIR)
    sink = FeatureFileSink(str(path))
    sink.publish(ONE)
    assert sink.publish(TWO) is Outcome.UPDATED
    assert stat.S_ISDIR((path.parent / SCRATCH_DIR).lstat().st_mode)


def test_a_file_that_cannot_be_read_is_written_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FeatureFileSink(str(path))
    sink.publish(ONE)

    def broken(descriptor: int, length: int) -> bytes:
        raise OSError(errno.EIO, f"{length} bytes of {descriptor}")

    monkeypatch.setattr(os, "read", broken)
    assert sink.remove_if_ours() is Outcome.ABSENT
    assert sink.publish(TWO) is Outcome.UPDATED
