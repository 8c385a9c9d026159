"""Directories that were removed while somebody has them: by an open descriptor, as by a mount."""

import logging
import os
from pathlib import Path

import pytest

from npu_core.service.events import SharedEvent
from npu_core.service.mounts import RemovedDirectories


def test_a_directory_that_is_removed_and_made_anew_is_another_one(pinned: tuple[Path, str]) -> None:
    directory, path = pinned
    watch = RemovedDirectories([path, str(directory)])
    assert watch.look() == ()
    directory.rmdir()
    directory.mkdir()
    assert watch.look() == (path,)


def test_a_directory_that_is_removed_before_the_first_look_is_found(pinned: tuple[Path, str]) -> None:
    directory, path = pinned
    watch = RemovedDirectories([path])
    directory.rmdir()
    assert watch.look() == (path,)


def test_a_directory_that_is_renamed_or_missing_is_not_removed(pinned: tuple[Path, str], tmp_path: Path) -> None:
    directory, path = pinned
    watch = RemovedDirectories([path, str(directory)])
    assert watch.look() == ()
    directory.rename(tmp_path / "elsewhere")
    assert watch.look() == ()


def test_a_directory_of_a_file_system_that_counts_no_links_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many FUSE file systems are, and what a container has of the node may be on one."""
    stat = os.stat
    without_links = (*stat(tmp_path)[:3], 0, *stat(tmp_path)[4:])
    monkeypatch.setattr(os, "stat", lambda *_, **__: os.stat_result(without_links))
    watch = RemovedDirectories([str(tmp_path)])
    assert [watch.look(), watch.look()] == [(), ()]


def test_a_directory_that_turns_up_later_and_is_removed_then_is_found(pinned: tuple[Path, str], tmp_path: Path) -> None:
    directory, path = pinned
    link = tmp_path / "link"
    watch = RemovedDirectories([str(link)])
    assert watch.look() == ()
    link.symlink_to(path)
    assert watch.look() == ()
    directory.rmdir()
    assert watch.look() == (str(link),)


def test_a_removed_directory_is_said_once(pinned: tuple[Path, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    directory, path = pinned
    watch = RemovedDirectories([path, path, str(directory)])
    assert watch.look() == ()
    directory.rmdir()
    assert [watch.look(), watch.look()] == [(path,), (path,)]
    assert [record.getMessage() for record in caplog.records] == [SharedEvent.DIRECTORY_REMOVED]
