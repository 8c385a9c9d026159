"""A file system with faults put into it."""

import errno
import threading
from pathlib import Path

import pytest

from npu_core.errors import AccessDeniedError, BusyError, GoneError, HostError, ReadFailedError
from npu_core.hostfs import HostFS
from npu_core.testing import EACCES, EIO, ENODEV, Blocked, Fault, FaultyFS, failing, garbage
from testkit.waiting import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "alive").write_text("1\n", encoding="utf-8")
    return str(tmp_path / "alive")


def test_without_faults_it_is_the_file_system_below(path: str, tmp_path: Path) -> None:
    fs: HostFS = FaultyFS()
    (tmp_path / "link").symlink_to("alive")
    assert fs.read_text(path) == "1\n"
    assert sorted(fs.list_dir(str(tmp_path))) == ["alive", "link"]
    assert fs.read_link(str(tmp_path / "link")) == "alive"
    assert fs.is_char_device("/dev/null")


@pytest.mark.parametrize(
    ("fault", "leaf"),
    [(EIO, ReadFailedError), (EACCES, AccessDeniedError), (ENODEV, GoneError), (failing(errno.EBUSY), BusyError)],
    ids=["EIO", "EACCES", "ENODEV", "EBUSY"],
)
def test_every_access_to_a_faulty_path_meets_the_fault(path: str, fault: Fault, leaf: type[HostError]) -> None:
    fs = FaultyFS()
    fs.put("*/alive", fault)
    for access in (fs.read_text, fs.list_dir, fs.read_link, fs.is_char_device):
        with pytest.raises(leaf) as caught:
            access(path)
        assert caught.value.path == path


def test_garbage_is_read_as_it_is_and_is_no_device(path: str) -> None:
    fs = FaultyFS()
    fs.put("*/alive", garbage("maybe"))
    fs.put("/dev/null", garbage())
    assert fs.read_text(path) == fs.read_link(path) == "maybe"
    assert fs.list_dir(path) == ("maybe",)
    assert not fs.is_char_device("/dev/null")


def test_the_first_pattern_wins_faults_stand_on_faults_and_every_read_is_remembered(path: str) -> None:
    below = FaultyFS()
    below.put("*/alive", garbage("below"))
    fs = FaultyFS(below)
    assert fs.read_text(path) == "below"
    fs.put("*/alive", garbage("first"))
    fs.put("*", EIO)
    assert fs.read_text(path) == "first"
    fs.put("*/alive", garbage("changed"))
    assert fs.read_text(path) == "changed"
    with pytest.raises(ReadFailedError):
        fs.read_text("/sys/dead")
    fs.clear()
    assert fs.read_text(path) == "below"
    assert fs.reads == [path, path, path, "/sys/dead", path]


def test_blocked_readers_stay_until_they_are_released(path: str) -> None:
    fs, blocked = FaultyFS(), Blocked()
    fs.put("*/alive", blocked)
    results: list[object] = []

    def read() -> None:
        try:
            results.append(fs.read_text(path))
        except HostError as error:
            results.append(error)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert [blocked.wait_for_reader(PATIENCE) for _ in readers] == [True, True]
    assert not blocked.wait_for_reader(0.0)
    fs.clear()
    assert results == []
    blocked.release()
    for reader in readers:
        reader.join(PATIENCE)
    assert [type(result) for result in results] == [ReadFailedError, ReadFailedError]
    with pytest.raises(ReadFailedError):  # after the release nobody waits
        blocked(path)
