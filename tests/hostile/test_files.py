"""Files that are written badly while the services run: protection and the last good state stay."""

import asyncio
import os
import shutil
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest

from npu_core.testing import warboy
from testkit.services.node import RESOURCE
from testkit.standins.kubelet import EventKind
from testkit.waiting import PATIENCE
from tests.hostile.node import AttackedNode, StartNode, Target, replace

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _comment(path: Path) -> None:
    path.write_text("# nothing\n", encoding="ascii")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _giant(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def _gone(path: Path) -> None:
    path.unlink()


def _unknown_keys(path: Path) -> None:
    path.write_text("".join(f"key{number}: {number}\n" for number in range(60_000)), encoding="ascii")


def _bomb(path: Path) -> None:
    levels = "".join(f"a{number}: &a{number} [{f'*a{number - 1}, ' * 9}]\n" for number in range(1, 12))
    path.write_text(f"a0: &a0 x\n{levels}", encoding="ascii")


def _deep(path: Path) -> None:
    path.write_text("[" * 500_000, encoding="ascii")


SPOILED: dict[str, Callable[[Path], None]] = {
    "empty": _empty,
    "cut off": _cut_off,
    "a comment": _comment,
    "a pipe": _pipe,
    "a directory": _directory,
    "a device": _device,
    "a loop of links": _loop,
    "a sparse giant": _giant,
    "gone": _gone,
    "60,000 unknown keys": _unknown_keys,
    "aliases that grow": _bomb,
    "deep brackets": _deep,
}


async def _told(node: AttackedNode, target: Target, path: Path, change: Callable[[], None]) -> None:
    """Change the file; returns when the service has logged something about its path."""
    before = len(target.process.logged(str(path)))
    change()
    # The exporter looks at its files when somebody asks; the plugin looks by itself.
    await node.asks(target, "/metrics")
    await target.process.until_logged(str(path), PATIENCE, times=before + 1)


async def _strangers_are_answered(node: AttackedNode, times: int) -> set[int]:
    return {await node.asks(node.exporter, "/metrics") for _ in range(times)}


async def test_no_spoiled_web_configuration_lets_a_stranger_in(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    path = node.web_config
    for name, spoil in SPOILED.items():
        async with node.works() as checks:
            text = path.read_text(encoding="utf-8")
            await _told(node, node.exporter, path, lambda spoil=spoil: spoil(path))  # type: ignore[misc]  # bound now
            assert await _strangers_are_answered(node, 40) == {HTTPStatus.UNAUTHORIZED}, name
            await checks.rounds()
            replace(path, text)


async def test_a_web_configuration_that_is_copied_over_without_end_lets_no_stranger_in(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    original = node.home / "original.yml"
    shutil.copy(node.web_config, original)

    async def copy() -> None:
        while True:
            # In this place, not renamed: for a moment the file is empty.
            shutil.copy(original, node.web_config)
            await asyncio.sleep(0.005)

    async with node.works() as checks:
        copying = asyncio.create_task(copy())
        assert await _strangers_are_answered(node, 1500) == {HTTPStatus.UNAUTHORIZED}
        await checks.rounds()
        copying.cancel()


async def test_no_spoiled_configuration_of_the_plugin_offers_a_disabled_card(start_node: StartNode) -> None:
    config = "disabledDevices: [{devName: npu1}]\n# some more text, so that a part of the file can be cut off\n"
    node = await start_node(warboy(0), warboy(1), config=config)
    await node.node.offers("npu0pe0-1")
    path = node.config
    for spoil in SPOILED.values():
        async with node.works() as checks:
            text = path.read_text(encoding="utf-8")
            if spoil is _cut_off:  # at the end of which is a comment: nothing is to be told
                spoil(path)
            else:
                await _told(node, node.plugin, path, lambda spoil=spoil: spoil(path))  # type: ignore[misc]  # bound now
            await checks.rounds()
            replace(path, text)
    lists = node.node.kubelet.events_of(EventKind.LIST_MESSAGE, RESOURCE)
    assert {tuple(unit.id for unit in each.devices if unit.healthy) for each in lists} == {("npu0pe0-1",)}
