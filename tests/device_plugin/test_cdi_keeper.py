"""Our CDI files over the life of a plugin, and after names are not given any more."""

import logging
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.partition import UnitId
from npu_device_plugin.allocation.grants import DeviceInjection
from npu_device_plugin.cdi import file_name
from npu_device_plugin.cdi_files import CdiKeeper

OURS = file_name(Arch.WARBOY)


NOTHING_HELD: frozenset[tuple[Arch, UnitId]] = frozenset()


def holding(*ids: str) -> frozenset[tuple[Arch, UnitId]]:
    return frozenset((Arch.WARBOY, UnitId.parse(each)) for each in ids)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One with a file of ours and one of somebody else's."""
    for name in (OURS, "nvidia.yaml"):
        (tmp_path / name).write_text(name)
    return tmp_path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_nobody_looks_up_is_removed_once_and_nothing_of_anybody_else(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keeper = CdiKeeper(str(directory), DeviceInjection.FILES)
    keeper.follow((), NOTHING_HELD, serving=True)
    keeper.follow((), NOTHING_HELD, serving=True)
    assert names(directory) == {"nvidia.yaml"}
    assert caplog.messages == ["CDI files of an earlier configuration removed"]


def test_what_a_container_may_look_up_again_stays_until_it_is_gone(directory: Path) -> None:
    keeper = CdiKeeper(str(directory), DeviceInjection.FILES)
    keeper.follow((), holding("npu0pe0-1", "npu1pe0-1"), serving=True)
    keeper.follow((), holding("npu1pe0-1", "npu2pe0-1"), serving=True)
    assert OURS in names(directory)
    # What was given since was given as files.
    keeper.follow((), holding("npu2pe0-1"), serving=True)
    assert OURS not in names(directory)


def test_while_nobody_knows_who_holds_what_everything_stays(directory: Path) -> None:
    keeper = CdiKeeper(str(directory), DeviceInjection.FILES)
    keeper.follow((), None, serving=True)
    assert OURS in names(directory)
    keeper.follow((), NOTHING_HELD, serving=True)
    assert OURS not in names(directory)


def test_an_earlier_instance_that_still_serves_keeps_its_files(directory: Path) -> None:
    CdiKeeper(str(directory), DeviceInjection.FILES).follow((), NOTHING_HELD, serving=False)
    assert OURS in names(directory)


@pytest.mark.parametrize("injection", [DeviceInjection.CDI, DeviceInjection.BOTH])
def test_where_names_are_given_files_that_no_family_needs_are_removed_at_once(
    directory: Path, injection: DeviceInjection
) -> None:
    CdiKeeper(str(directory), injection).follow((), holding("npu0pe0-1"), serving=False)
    assert names(directory) == {"nvidia.yaml"}


def test_a_node_that_never_had_such_a_directory_has_none_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    CdiKeeper(f"{tmp_path}/none", DeviceInjection.FILES).follow((), NOTHING_HELD, serving=True)
    assert (names(tmp_path), caplog.messages) == (set(), [])


def test_what_cannot_be_removed_is_told_once_and_tried_again(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (directory / OURS).unlink()
    (directory / OURS).mkdir()
    keeper = CdiKeeper(str(directory), DeviceInjection.FILES)
    keeper.follow((), NOTHING_HELD, serving=True)
    keeper.follow((), NOTHING_HELD, serving=True)
    assert caplog.messages == ["cannot write CDI files"]
    (directory / OURS).rmdir()
    (directory / OURS).write_text("")
    keeper.follow((), NOTHING_HELD, serving=True)
    assert names(directory) == {"nvidia.yaml"}
