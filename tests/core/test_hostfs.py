"""The real file system behind the port: what it gives, and that every failure is a typed error."""

import os
import socket
from pathlib import Path

import pytest

from npu_core.errors import FormatError, GoneError, HostError, MissingError
from npu_core.hostfs import HostFS, RealFS

FS: HostFS = RealFS()


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "label").write_bytes("급 °C\n".encode())
    assert FS.read_text(str(tmp_path / "label")) == "급 °C\n"


def test_bytes_that_are_no_text_are_a_format_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "device_sn"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(FormatError) as caught:
        FS.read_text(str(path))
    assert (caught.value.path, caught.value.expected) == (str(path), "UTF-8 text")
    assert caught.value.detail == r"'\\xff\\xfe\n' is not UTF-8 text"
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    assert len(FS.read_text("/dev/zero")) == 65536


@pytest.mark.parametrize("path", ["nothing", "file/below"])
def test_what_is_not_there_is_missing(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    target = str(tmp_path / path)
    for access in (FS.read_text, FS.list_dir, FS.read_link):
        with pytest.raises(MissingError) as caught:
            access(target)
        assert caught.value.path == target
        assert isinstance(caught.value.__cause__, OSError)
    assert not FS.is_char_device(target)


def test_a_file_with_nothing_behind_it_is_gone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    with pytest.raises(GoneError, match="ENXIO"):
        FS.read_text(str(tmp_path / "socket"))


def test_a_directory_is_listed_with_everything_in_it(tmp_path: Path) -> None:
    (tmp_path / "npu0").touch()
    (tmp_path / "rngd").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert sorted(FS.list_dir(str(tmp_path))) == ["dangling", "npu0", "rngd"]


def test_character_devices_are_told_from_all_else_through_links(tmp_path: Path) -> None:
    (tmp_path / "npu0").symlink_to(os.devnull)
    (tmp_path / "npu1").touch()
    (tmp_path / "npu2").mkdir()
    (tmp_path / "npu3").symlink_to("nowhere")
    found = [path.name for path in tmp_path.iterdir() if FS.is_char_device(str(path))]
    assert found == ["npu0"]


def test_a_loop_of_links_is_an_error_and_not_an_absence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(HostError, match="ELOOP"):
        FS.is_char_device(str(tmp_path / "loop"))


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff")
    before = set(FS.list_dir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(FormatError):
            FS.read_text(str(tmp_path / "bad"))
    assert set(FS.list_dir("/proc/self/fd")) == before
