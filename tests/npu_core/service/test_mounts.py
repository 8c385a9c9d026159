"""Directories that were removed while somebody has them: by an open descriptor, as by a mount."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from npu_core.service.mounts import RemovedDirectories, is_removed


@pytest.fixture
def pinned(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and a path that leads to it whatever becomes of its name."""
    directory = tmp_path / "plugins"
    directory.mkdir()
    descriptor = os.open(directory, os.O_PATH)
    yield directory, f"/proc/{os.getpid()}/fd/{descriptor}"
    os.close(descriptor)


def test_a_directory_that_is_removed_and_made_anew_is_another_one(pinned: tuple[Path, str]) -> None:
    directory, path = pinned
    assert not is_removed(path)
    directory.rmdir()
    directory.mkdir()
    assert is_removed(path)
    assert not is_removed(str(directory))


def test_a_directory_that_is_renamed_or_missing_is_not_removed(pinned: tuple[Path, str], tmp_path: Path) -> None:
    directory, path = pinned
    directory.rename(tmp_path / "elsewhere")
    assert not is_removed(path)
    assert not is_removed(str(directory))


def test_a_removed_directory_is_said_once(pinned: tuple[Path, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    directory, path = pinned
    watch = RemovedDirectories([path, path, str(directory)])
    assert watch.look() == ()
    directory.rmdir()
    assert [watch.look(), watch.look()] == [(path,), (path,)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
