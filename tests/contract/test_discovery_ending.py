"""The discovery ends at once and leaves the labels in place, whatever it was doing."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_feature_discovery.events import Event
from testkit.services.discovery import LabelledNode
from testkit.waiting import PATIENCE

can_become_nobody = os.geteuid() == 0 and shutil.which("setpriv") is not None
needs_root = pytest.mark.skipif(not can_become_nobody, reason="only root can become somebody else")
NOBODY = 65532
WHILE_IT_LOOKS = 4
"""Threads: the one that waits for signals, the one that works, and those that list and read the cards."""
TOO_HEAVY = {"asyncio", "typer", "click", "pydantic", "kubernetes", "grpc", "prometheus_client", "yaml", "uvloop"}


@pytest_asyncio.fixture
async def node() -> AsyncIterator[LabelledNode]:
    """A machine with two Warboy cards; the discovery does not run yet."""
    async with LabelledNode(warboy(0), warboy(1)) as node:
        yield node


def holds_back(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return bool(int(status.partition("SigBlk:")[2].split()[0], 16) & 1 << (number - 1))


def mapped_by(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def user_of(path: Path) -> int:
    return path.stat().st_uid


async def ends_clean(node: LabelledNode, number: int = signal.SIGTERM) -> None:
    assert await node.discovery.stop(number) == 0
    assert Event.STOPPED in node.discovery.log[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_it_and_the_labels_stay(node: LabelledNode, number: signal.Signals) -> None:
    await node.up()
    before = node.file.read_bytes()
    await ends_clean(node, number)
    assert node.file.read_bytes() == before


async def test_the_labels_go_with_it_where_that_is_wanted(node: LabelledNode) -> None:
    await node.up("--cleanup-on-exit")
    await ends_clean(node)
    assert list(node.features_d.iterdir()) == []


async def test_it_ends_in_the_middle_of_its_first_look_at_a_card_that_hangs(node: LabelledNode) -> None:
    node.host.card(Arch.WARBOY, 1).hang("version")
    await node.start()
    await node.until(lambda: threads_of(node.discovery.pid) >= WHILE_IT_LOOKS)
    await ends_clean(node)


async def test_a_signal_before_it_listens_is_not_lost(node: LabelledNode) -> None:
    await node.start()
    await node.until(lambda: holds_back(node.discovery.pid, signal.SIGTERM))
    assert await node.discovery.stop() == 0


async def test_a_card_that_hangs_and_comes_back_keeps_its_labels_meanwhile(node: LabelledNode) -> None:
    await node.up("--interval", "0.1")
    before = node.labels()
    card = node.host.card(Arch.WARBOY, 0)
    card.hang("soc_rev")
    await node.discovery.until_logged(Event.CARD_SILENT, PATIENCE)
    assert node.labels() == before
    card.set_attribute("soc_rev", "B0")
    await node.discovery.until_logged(Event.CARD_ANSWERS, PATIENCE)
    assert node.labels() == before


async def test_a_restart_while_every_card_hangs_costs_no_label(node: LabelledNode) -> None:
    await node.up()
    before = node.labels()
    await node.discovery.stop(signal.SIGKILL)
    for card in node.host.cards:
        card.hang("soc_rev")
    await node.start("--interval", "0.1")
    await node.discovery.until_logged(Event.ALREADY_PUBLISHED, PATIENCE)
    assert node.labels() == before
    for card in node.host.cards:
        card.set_attribute("soc_rev", "A0")
    await node.until_labelled(npu_product="warboy")


# -- what rests ----------------------------------------------------------------------------------------------------


async def test_the_resting_process_has_mapped_no_library_that_it_has_no_use_for(node: LabelledNode) -> None:
    await node.up()
    mapped = mapped_by(node.discovery.pid)
    assert "python" in mapped
    assert [
        name for name in (*TOO_HEAVY, "_ssl", "_hashlib", "libcrypto", "cygrpc", "pydantic_core") if name in mapped
    ] == []


@needs_root
async def test_as_nobody_with_only_its_directory_to_write_to_it_does_all_it_has_to(node: LabelledNode) -> None:
    os.chown(node.features_d, NOBODY, NOBODY)
    await node.start(run_as=NOBODY)
    await node.discovery.until_logged(Event.PUBLISHED, PATIENCE)
    assert user_of(Path(f"/proc/{node.discovery.pid}")) == NOBODY
    assert user_of(node.file) == NOBODY
    node.host.plug(warboy(2))
    await node.until_labelled(npu_count="3")
    node.discovery.hang_up()
    await ends_clean(node)


@needs_root
async def test_as_nobody_it_takes_over_from_root(node: LabelledNode) -> None:
    await node.up()
    await ends_clean(node)
    os.chown(node.features_d, NOBODY, NOBODY)
    node.host.plug(warboy(2))
    await node.start(run_as=NOBODY)
    await node.until_labelled(npu_count="3")
    assert user_of(node.file) == NOBODY


@needs_root
async def test_a_directory_that_it_may_not_write_to_is_told_once_and_waited_for(node: LabelledNode) -> None:
    await node.start("--interval", "0.1", run_as=NOBODY)
    line = await node.discovery.until_logged(Event.CANNOT_PUBLISH, PATIENCE)
    assert str(node.features_d) in line
    assert "EACCES" in line
    os.chown(node.features_d, NOBODY, NOBODY)
    await node.discovery.until_logged(Event.CAN_PUBLISH, PATIENCE)
    assert len(node.discovery.logged(Event.CANNOT_PUBLISH)) == 1
    assert node.labels()["npu.count"] == "2"
