"""Socket files in a directory that somebody else cleans up."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from npu_device_plugin.kubelet.sockets import (
    give_name,
    remove_if_ours,
    remove_stale_sockets,
    scratch_name,
    socket_identity,
)


@contextmanager
def bound(path: Path) -> Iterator[None]:
    """A socket at a path; its file stays when it is closed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_sockets_of_processes_that_ended_before_they_were_served_are_removed_and_nothing_else(socket_dir: Path) -> None:
    kept = {"furiosa-npu", ".npu-abcdefgh", ".npu-00000", "npu-000000"}
    for name in (*kept, ".npu-012abc", scratch_name()):
        with bound(socket_dir / name):
            pass
    (socket_dir / ".npu-000001").write_text("x", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(socket_dir / ".npu-000002"))
        served.listen()
        remove_stale_sockets(str(socket_dir))
    assert {path.name for path in socket_dir.iterdir()} == kept | {".npu-000001", ".npu-000002"}


def test_what_is_no_socket_has_no_identity(socket_dir: Path) -> None:
    (socket_dir / "file").write_text("x", encoding="utf-8")
    (socket_dir / "directory").mkdir()
    (socket_dir / "link").symlink_to("nowhere")
    names = ("file", "directory", "link", "file/below")
    assert {socket_identity(str(socket_dir / name)) for name in names} == {None}


def test_another_socket_at_the_same_path_has_another_identity(socket_dir: Path, stack: ExitStack) -> None:
    path = socket_dir / "s"
    stack.enter_context(bound(path))
    before = socket_identity(str(path))
    path.unlink()
    stack.enter_context(bound(path))
    assert socket_identity(str(path)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o600),
        lambda path: os.chown(path, os.getuid(), os.getgid()),
        lambda path: path.with_name("second").hardlink_to(path),
        lambda path: path.rename(path.with_name("away")).rename(path),
        lambda path: os.setxattr(path, "security.selinux", b"system_u:object_r:container_file_t:s0"),
    ],
    ids=["chmod", "chown", "link", "rename", "restorecon"],
)
def test_a_socket_keeps_its_identity_whatever_is_done_to_its_inode(
    socket_dir: Path, stack: ExitStack, change: Callable[[Path], object]
) -> None:
    path = socket_dir / "s"
    stack.enter_context(bound(path))
    before, status = socket_identity(str(path)), path.stat()
    end = time.monotonic() + 60
    while path.stat().st_ctime_ns == status.st_ctime_ns:  # the clock of the file system goes in steps
        assert time.monotonic() < end
        try:
            change(path)
        except PermissionError:
            pytest.skip("only root may do that here")
        except FileExistsError:
            path.with_name("second").unlink()
    assert socket_identity(str(path)) == before


def test_a_link_to_a_socket_is_none_of_ours(socket_dir: Path, stack: ExitStack) -> None:
    stack.enter_context(bound(socket_dir / "s"))
    (socket_dir / "link").symlink_to("s")
    assert socket_identity(str(socket_dir / "link")) is None


def test_a_served_socket_is_given_its_name(socket_dir: Path, stack: ExitStack) -> None:
    scratch, path = socket_dir / ".scratch", socket_dir / "s"
    stack.enter_context(bound(scratch))
    identity = give_name(str(scratch), str(path))
    assert identity == socket_identity(str(path)) is not None
    assert os.listdir(socket_dir) == ["s"]  # noqa: PTH208  # names are what is asked for


def test_a_name_is_given_over_whatever_was_there(socket_dir: Path, stack: ExitStack) -> None:
    path = socket_dir / "s"
    stack.enter_context(bound(path))
    stale = socket_identity(str(path))
    stack.enter_context(bound(socket_dir / ".scratch"))
    assert give_name(str(socket_dir / ".scratch"), str(path)) not in {None, stale}


def test_a_scratch_that_has_gone_is_an_error(socket_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        give_name(str(socket_dir / ".scratch"), str(socket_dir / "s"))


def test_our_socket_is_removed(socket_dir: Path, stack: ExitStack) -> None:
    path = socket_dir / "s"
    stack.enter_context(bound(path))
    remove_if_ours(str(path), socket_identity(str(path)))
    assert not path.exists()


def test_the_socket_of_another_process_is_left_alone(socket_dir: Path, stack: ExitStack) -> None:
    path = socket_dir / "s"
    stack.enter_context(bound(path))
    ours = socket_identity(str(path))
    path.unlink()
    stack.enter_context(bound(path))
    remove_if_ours(str(path), ours)
    assert path.exists()
