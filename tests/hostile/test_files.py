"""Files that are written badly while the services run: protection and the last good state stay."""

import asyncio
import os
import shutil
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest

from contract.node import RESOURCE
from hostile.node import AttackedNode, StartNode
from npu_core.testing import warboy

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


def _giant(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def _gone(path: Path) -> None:
    path.unlink()


def _unknown_keys(path: Path) -> None:
    path.write_text("".join(f"key{number}: {number}\n" for number in range(60_000)), encoding="ascii")


SPOILED: dict[str, Callable[[Path], None]] = {
    "empty": _empty,
    "cut off": _cut_off,
    "a comment": _comment,
    "a pipe": _pipe,
    "a directory": _directory,
    "a device": _device,
    "a sparse giant": _giant,
    "gone": _gone,
    "60,000 unknown keys": _unknown_keys,
}


async def _asked_for_a_while(node: AttackedNode) -> set[int]:
    """What a stranger's scrapes are answered."""
    statuses = set()
    for _ in range(40):
        statuses.add(await asyncio.to_thread(node.status, node.exporter, "/metrics"))
        await asyncio.sleep(0.1)
    return statuses


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_spoiled_web_configuration_lets_no_stranger_in(
    start_node: StartNode, spoil: Callable[[Path], None]
) -> None:
    node = await start_node(warboy(0))
    logged = node.exporter.logged_bytes
    async with node.works():
        spoil(node.web_config)
        assert await _asked_for_a_while(node) == {HTTPStatus.UNAUTHORIZED}
    assert node.exporter.process.logged(str(node.web_config))
    assert node.exporter.logged_bytes - logged < 50_000


async def test_a_web_configuration_that_is_copied_over_twenty_times_a_second(start_node: StartNode) -> None:
    node = await start_node(warboy(0))
    original = node.home / "original.yml"
    shutil.copy(node.web_config, original)

    async def copy() -> None:
        while True:
            shutil.copy(original, node.web_config)
            await asyncio.sleep(0.05)

    async with node.works() as checks:
        copying = asyncio.create_task(copy())
        statuses = set()
        for _ in range(500):
            statuses.add(await asyncio.to_thread(node.status, node.exporter, "/metrics"))
        await checks.rounds()
        copying.cancel()
    assert statuses == {HTTPStatus.UNAUTHORIZED}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_spoiled_configuration_offers_no_disabled_card(
    start_node: StartNode, spoil: Callable[[Path], None]
) -> None:
    card, disabled = warboy(0), warboy(1)
    config = "disabledDevices: [{devName: npu1}]\n# some more text, so that a part of the file can be cut off\n"
    node = await start_node(card, disabled, config=config)
    await node.node.offers("npu0pe0-1")
    async with node.works() as checks:
        spoil(node.config)
        await asyncio.sleep(2.0)
        await checks.rounds()
    view = node.node.kubelet.view()
    assert view.healthy(RESOURCE) == {"npu0pe0-1"}
    assert await node.plugin.process.stop() == 0
