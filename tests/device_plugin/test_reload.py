"""Settings that follow their file, however it is changed."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from npu_core.config.reload import ReloadableSettings
from npu_core.config.watch import ConfigWatch
from npu_core.errors import SettingsError
from npu_core.partition import SINGLE
from npu_core.service.events import SharedEvent
from npu_core.service.given_files import GivenFiles
from npu_device_plugin.allocation.disabled import DisabledDevice
from npu_device_plugin.settings import Settings
from tests.device_plugin.configs import following

FUSED, CUT = "defaultPe: Fusion\n", "defaultPe: Single\n"
Change = Callable[[Path, str], None]


class ConfigMap:
    """A mounted ConfigMap: ``config.yaml -> ..data/config.yaml``, ``..data -> ..1``, swapped as the kubelet does."""

    def __init__(self, directory: Path, text: str) -> None:
        """A volume with one file."""
        self._directory = directory
        self._version = 0
        self.update(text)
        self.path.symlink_to("..data/config.yaml")

    @property
    def path(self) -> Path:
        """The file as a container sees it."""
        return self._directory / "config.yaml"

    def update(self, text: str) -> None:
        """Swap the whole directory."""
        self._version += 1
        data = self._directory / f"..{self._version}"
        data.mkdir()
        data.joinpath("config.yaml").write_text(text)
        scratch = self._directory / "..data_tmp"
        scratch.symlink_to(data.name)
        scratch.replace(self._directory / "..data")
        for old in self._directory.glob("..[0-9]*"):
            if old.name != data.name:
                old.joinpath("config.yaml").unlink()
                old.rmdir()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def watching(path: str) -> ConfigWatch:
    """A watch of a service that runs."""
    files = GivenFiles()
    files.started()
    return ConfigWatch(path, files)


def plain_edit(path: Path, text: str) -> None:
    path.write_text(text)


def editors_replacement(path: Path, text: str) -> None:
    scratch = path.with_name(".config.yaml.swp")
    scratch.write_text(text)
    scratch.replace(path)


def deleted_and_written(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def same_times(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [plain_edit, editors_replacement, deleted_and_written, same_times]


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(FUSED)
    return file


@pytest.fixture
def reloader(path: Path) -> ReloadableSettings[Settings]:
    return loaded(path)


def loaded(path: Path) -> ReloadableSettings[Settings]:
    return following({"config-file": str(path)}, {})


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, str]]]:
    """Level, event and fields of every line since the last time."""
    result = [
        (record.levelname, record.getMessage(), {key: str(value) for key, value in record.npu_fields.items()})  # type: ignore[attr-defined]  # of EventLog
        for record in caplog.records
    ]
    caplog.clear()
    return result


# -- noticing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed_once_however_it_is_made(path: Path, change: Change) -> None:
    watch = watching(str(path))
    assert (watch.changed(), watch.digest) == (False, digest(FUSED))
    change(path, CUT)
    assert [watch.changed(), watch.changed()] == [True, False]
    assert watch.digest == digest(CUT)


def test_the_swap_of_a_configmap_is_noticed(tmp_path: Path) -> None:
    volume = ConfigMap(tmp_path, FUSED)
    watch = watching(str(volume.path))
    volume.update(CUT)
    assert [watch.changed(), watch.changed()] == [True, False]
    volume.update(FUSED)
    assert (watch.changed(), watch.digest) == (True, digest(FUSED))


# -- applying ---------------------------------------------------------------------------------------------------------


def test_everything_live_changes_at_once(reloader: ReloadableSettings[Settings], path: Path) -> None:
    path.write_text("defaultPe: Single\ninterval: 3\ndisabledDevices: [{devName: npu1}]\n")
    reloader.look()
    settings = reloader.settings
    assert (settings.interval, settings.disabled_devices) == (3.0, (DisabledDevice("npu1"),))
    assert reloader.state.generation == 2
    path.write_text("{}\n")
    reloader.look()
    assert (reloader.settings.interval, reloader.settings.disabled_devices) == (10.0, ())
    assert reloader.state.generation == 3


def test_what_needs_a_restart_is_told_and_the_rest_is_applied(
    reloader: ReloadableSettings[Settings], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(CUT + "socketName: other\nlistenAddress: 'off'\n")
    reloader.look()
    assert (reloader.settings.socket_name, reloader.settings.default_pe) == ("furiosa-npu", SINGLE)
    told = {fields.pop("setting"): (level, event, fields) for level, event, fields in lines(caplog)[:-1]}
    needs = ("WARNING", SharedEvent.SETTING_NEEDS_RESTART)
    assert set(told) == {"default_pe", "socket_name", "listen_address"}
    assert told["socket_name"] == (*needs, {"inForce": "furiosa-npu", "wanted": "other"})
    assert told["listen_address"] == (*needs, {"inForce": "127.0.0.1:6255", "wanted": "None"})


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("defaultPe: Triple\ninterval: never\nnonsense: 1\n", 3),
        ("defaultPe: [\n", 1),
        ("- a list\n", 1),
        ("\0", 1),
    ],
)
def test_a_wrong_file_is_told_once_and_the_last_good_one_stays(
    reloader: ReloadableSettings[Settings], path: Path, text: str, problems: int, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(CUT)
    reloader.look()
    lines(caplog)

    path.write_text(text)
    reloader.look()
    reloader.look()

    assert reloader.settings.default_pe == SINGLE
    told = lines(caplog)
    assert {(level, event) for level, event, _ in told} == {("ERROR", SharedEvent.CONFIGURATION_REFUSED)}
    assert len(told) == problems
    config = reloader.state
    assert (config.generation, config.digest) == (2, digest(CUT))
    assert len(config.error.splitlines()) >= problems
    assert str(path) in config.error


# -- what else a path may lead to -------------------------------------------------------------------------------------


def test_an_empty_pipe_is_an_error_and_not_all_defaults() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with pytest.raises(SettingsError, match="empty"):
        loaded(Path(f"/dev/fd/{read_end}"))
    os.close(read_end)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def giant(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, fifo, giant])
def test_what_is_no_configuration_leaves_the_last_good_one_and_is_told_once(
    reloader: ReloadableSettings[Settings], path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path.unlink()
    make(path)
    before = reloader.settings
    for _ in range(3):
        assert not reloader.look()
    assert reloader.settings == before
    assert str(path) in reloader.state.error
    assert [level for level, _, _ in lines(caplog)] == ["ERROR"]
