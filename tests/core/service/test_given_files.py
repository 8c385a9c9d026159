"""Files that an operator names, and everything else that a path may lead to."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npu_core.errors import FormatError, StuckError
from npu_core.service import given_files
from npu_core.service.given_files import GivenFiles, in_time, read_once, read_regular
from testkit.waiting import PATIENCE, until

TEXT = b"interval: 3\n"


def directory(path: Path) -> None:
    path.mkdir()


def pipe_with_a_name(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse_giant(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def loop_of_links(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    del path


WRONG = [directory, pipe_with_a_name, listening_socket, device, sparse_giant, loop_of_links, nothing]


def running() -> GivenFiles:
    files = GivenFiles()
    files.started()
    return files


@pytest.fixture
def pipe() -> Iterator[tuple[str, int]]:
    """The path of an inherited pipe, and its other end."""
    read_end, write_end = os.pipe()
    yield f"/dev/fd/{read_end}", write_end
    os.close(read_end)


@pytest.mark.parametrize("files", [GivenFiles(), running()])
def test_a_regular_file_is_read_with_its_mode(files: GivenFiles, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    path.chmod(0o640)
    given = files.read(str(path))
    assert (given.content, given.mode) == (TEXT, 0o640)


@pytest.mark.parametrize("make", WRONG)
@pytest.mark.parametrize("make_files", [GivenFiles, running])
def test_what_is_no_regular_file_is_refused_and_holds_nobody_up(
    make: Callable[[Path], None], make_files: Callable[[], GivenFiles], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    make(path)
    with pytest.raises(FormatError) as caught:
        make_files().read(str(path))
    assert caught.value.text == str(path)[:80] + "…" * (len(str(path)) > 80)


def test_one_byte_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_regular(str(path), 10).content == b"x" * 10
    with pytest.raises(FormatError):
        read_regular(str(path), 9)


def test_an_inherited_pipe_is_read_once_and_its_content_kept(pipe: tuple[str, int]) -> None:
    path, write_end = pipe
    os.write(write_end, TEXT)
    os.close(write_end)
    files = GivenFiles()
    assert [files.read(path).content for _ in range(3)] == [TEXT] * 3
    files.started()
    assert files.read(path).content == TEXT
    assert (files.is_kept(path), files.look(path)) == (True, None)


def test_a_slow_writer_of_a_pipe_is_waited_for(pipe: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    path, write_end = pipe
    monkeypatch.setattr(given_files, "START_SECONDS", PATIENCE)

    def write() -> None:
        for byte in TEXT:
            os.write(write_end, bytes([byte]))
        os.close(write_end)

    writer = threading.Timer(0.05, write)
    writer.start()
    assert read_once(path) == TEXT
    writer.join(PATIENCE)


def test_a_pipe_that_nobody_closes_is_refused(pipe: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    path, write_end = pipe
    monkeypatch.setattr(given_files, "START_SECONDS", 0.1)
    with pytest.raises(FormatError):
        read_once(path)
    os.close(write_end)


def test_a_pipe_without_an_end_is_refused_by_its_size(pipe: tuple[str, int]) -> None:
    path, write_end = pipe
    os.write(write_end, b"x" * 11)
    with pytest.raises(FormatError):
        GivenFiles(limit=10).read(path)
    os.close(write_end)


def test_a_service_that_runs_reads_no_pipe(pipe: tuple[str, int]) -> None:
    path, write_end = pipe
    os.close(write_end)
    with pytest.raises(FormatError):
        running().read(path)


def test_no_thread_is_left_when_the_file_is_read(tmp_path: Path) -> None:
    file, before = tmp_path / "file", set(threading.enumerate())
    file.write_bytes(TEXT)
    assert read_once(str(file)) == TEXT
    until(lambda: set(threading.enumerate()) <= before, "the end of the thread that read", instead=threading.enumerate)


def test_work_that_does_not_come_back_is_given_up() -> None:
    go_on = threading.Event()
    with pytest.raises(StuckError):
        in_time(go_on.wait, 0.01)
    go_on.set()


def test_a_file_of_a_server_that_does_not_answer_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(given_files, "START_SECONDS", 0.05)
    monkeypatch.setattr(given_files, "_read_all", lambda *_: go_on.wait())
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with pytest.raises(FormatError):
        read_once(str(path))
    go_on.set()
