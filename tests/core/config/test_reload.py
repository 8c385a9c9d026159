"""Settings that follow their file, however it is changed: what is noticed, put in force, refused, and said."""

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from npu_core.config.reload import ConfigState, ReloadableSettings, differences
from npu_core.config.watch import ConfigWatch
from npu_core.errors import FormatError, Problem, SettingsError
from npu_core.service import file_looks
from npu_core.service.events import SharedEvent
from npu_core.service.given_files import GivenFiles, ReadFile
from testkit.waiting import PATIENCE, eventually


@dataclass(frozen=True)
class Settings:
    """``live port``, two words in a file."""

    live: str
    port: str = "1"
    config_file: str | None = None


def settings(content: bytes, path: str | None = None) -> Settings:
    words = content.decode().split()
    if "wrong" in words:
        raise SettingsError([Problem(word, "", "another", "file") for word in words])
    return Settings(words[0], words[1], path)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    file.write_text("a 1")
    return file


@pytest.fixture
def following(path: Path, caplog: pytest.LogCaptureFixture) -> ReloadableSettings[Settings]:
    caplog.set_level(logging.INFO)

    def load(read: ReadFile) -> Settings:
        return settings(read(str(path)), str(path))

    return ReloadableSettings(load, ["live"], ConfigState())


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """Events and fields since the last time."""
    lines = [(record.getMessage(), record.__dict__["npu_fields"]) for record in caplog.records]
    caplog.clear()
    return lines


# -- noticing ---------------------------------------------------------------------------------------------------------


def watching(path: Path) -> ConfigWatch:
    """A watch of a service that runs."""
    files = GivenFiles()
    files.started()
    return ConfigWatch(str(path), files)


def test_a_watch_notices_each_change_of_content_once_and_no_other_change(path: Path) -> None:
    watch = watching(path)
    assert (watch.changed(), watch.content(), watch.digest, watch.can_change) == (False, b"a 1", digest("a 1"), True)
    os.utime(path, (1, 1))
    assert not watch.changed()
    write(path, "a 1")
    assert not watch.changed()
    times = path.stat()
    for text in ("b 1", "c 1"):
        write(path, text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert [watch.changed(), watch.changed()] == [True, False]
        assert watch.digest == digest(text)


def test_a_file_that_cannot_be_read_is_read_again_at_each_look(path: Path) -> None:
    """What kept it from being read may end without a trace in the file."""
    path.write_bytes(b"x" * 2_000_000)
    files = GivenFiles()
    watch = ConfigWatch(str(path), files)
    with pytest.raises(FormatError):
        watch.content()
    assert (watch.changed(), watch.digest) == (False, "")
    files._limit = 3_000_000
    assert [watch.changed(), watch.changed()] == [True, False]
    path.unlink()
    assert [watch.changed(), watch.changed(), watch.digest] == [True, False, ""]


def test_a_change_while_the_file_is_read_is_noticed_at_the_next_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, read = watching(path), GivenFiles.read

    def read_and_change(files: GivenFiles, name: str) -> object:
        given = read(files, name)
        write(path, "later 1")
        return given

    write(path, "sooner 1")
    with monkeypatch.context() as patched:
        patched.setattr(GivenFiles, "read", read_and_change)
        assert watch.changed()
    assert watch.content() == b"sooner 1"
    assert watch.changed()
    assert watch.content() == b"later 1"


# -- applying ---------------------------------------------------------------------------------------------------------


def test_what_is_live_is_in_force_at_the_next_look_and_the_rest_needs_a_restart(
    following: ReloadableSettings[Settings], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert following.state == ConfigState(1, digest("a 1"))
    assert not following.look()
    write(path, "b 2")
    assert following.look()
    assert following.settings == Settings("b", "1", str(path))
    assert following.state == ConfigState(2, digest("b 2"))
    assert told(caplog) == [
        (SharedEvent.SETTING_CHANGED, {"setting": "live", "before": "a", "now": "b"}),
        (SharedEvent.SETTING_NEEDS_RESTART, {"setting": "port", "inForce": "1", "wanted": "2"}),
        (SharedEvent.CONFIGURATION_APPLIED, {"generation": 2, "sha256": digest("b 2")[:12]}),
    ]
    write(path, "b  2")
    assert not following.look()
    assert following.state == ConfigState(2, digest("b  2"))
    assert [event for event, _ in told(caplog)][-1] == SharedEvent.CONFIGURATION_APPLIED


def test_a_wrong_file_is_told_once_and_the_last_good_one_stays_until_it_is_mended(
    following: ReloadableSettings[Settings], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("wrong wrong", "wrong"):
        write(path, text)
        assert [following.look(), following.look()] == [False, False]
        assert [event for event, _ in told(caplog)] == [SharedEvent.CONFIGURATION_REFUSED] * len(text.split())
        assert following.state == ConfigState(1, digest("a 1"), following.state.error)
        assert following.state.error.count("\n") == text.count(" ")
    write(path, "a 1")
    assert not following.look()
    assert following.state == ConfigState(1, digest("a 1"))


def test_the_generation_counts_changes_of_what_is_in_force(following: ReloadableSettings[Settings], path: Path) -> None:
    for text, generation in (("b 1", 2), ("b 3", 2), ("a 1", 3)):
        write(path, text)
        following.look()
        assert following.state.generation == generation


def test_without_a_file_there_is_nothing_to_follow() -> None:
    following: ReloadableSettings[Settings] = ReloadableSettings(lambda _: Settings("a"), ["live"], ConfigState())
    assert not following.look()
    assert following.state == ConfigState()


async def test_without_a_file_or_with_a_pipe_nothing_is_begun() -> None:
    plain: ReloadableSettings[Settings] = ReloadableSettings(lambda _: Settings("a"), ["live"], ConfigState())
    assert not await plain.follow()
    reading, writing = os.pipe()
    os.write(writing, b"a 1")
    os.close(writing)
    piped: ReloadableSettings[Settings] = ReloadableSettings(
        lambda read: settings(read(f"/dev/fd/{reading}")), ["live"], ConfigState()
    )
    assert not await piped.follow()
    assert not piped.look()
    assert piped.settings.live == "a"
    os.close(reading)


async def test_a_change_is_followed_off_the_event_loop(
    following: ReloadableSettings[Settings], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    watch: Callable[[ConfigWatch], bool] = ConfigWatch.changed

    def changed(self: ConfigWatch) -> bool:
        threads.append(threading.get_ident())
        return watch(self)

    monkeypatch.setattr(ConfigWatch, "changed", changed)
    monkeypatch.setattr(file_looks, "PATIENCE", PATIENCE)
    write(path, "b 1")
    assert await following.follow()
    assert following.settings.live == "b"
    assert threading.get_ident() not in threads
    assert not await following.follow()


async def test_a_file_that_does_not_come_back_is_told_once_and_a_refusal_of_before_is_told_again(
    following: ReloadableSettings[Settings],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(path, "wrong")
    following.look()
    refusal = following.state.error
    told(caplog)
    go_on = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(GivenFiles, "look", lambda *_: go_on.wait() and None)
        patched.setattr(file_looks, "DEADLINE", 0.0)
        for _ in range(3):
            assert not await following.follow()
        assert str(path) in following.state.error != refusal
        assert [event for event, _ in told(caplog)] == [SharedEvent.CONFIGURATION_UNREADABLE]
        go_on.set()
        await eventually(lambda: following._looks._under_way and following._looks._under_way.done(), "the look ends")
    await following.follow()
    assert told(caplog) == [(SharedEvent.CONFIGURATION_READABLE, {"path": str(path)})]
    assert following.state.error == refusal


def test_the_fields_that_differ_are_named() -> None:
    assert differences(Settings("a"), Settings("b", "1", "x")) == ("live", "config_file")
