"""The feature discovery: its labels appear, follow a card that is lost, and survive a restart."""

import asyncio
import time

from npu_core import Arch
from testkit.standins.nfd import Worker
from tools.demo.node import Node
from tools.demo.screen import Screen

DISCOVERY = "npu_feature_discovery"
_COUNT = "beta.furiosa.ai/npu.count"
_PATIENCE = 10.0


async def tell(node: Node, screen: Screen) -> None:
    """The story, step by step."""
    nfd = Worker(node.features_dir, "v0.11", extra_label_ns=["beta.furiosa.ai"])
    file = node.features_dir / "furiosa-npu-feature-discovery"

    screen.step("The feature discovery starts; what follows is what NFD v0.11 makes of its file")
    started = time.monotonic()
    await node.start(DISCOVERY, "--output-file", str(file))
    labels = await _until_count(nfd, "2")
    screen.fact("labelled", f"{time.monotonic() - started:.1f} s after its start", "green")
    for key, value in labels.items():
        screen.fact("  label", f"{key}={value}")

    screen.step("Card npu1 falls off the bus, and comes back")
    card = node.host.card(Arch.WARBOY, 1)
    for change, count in ((card.disappear, "1"), (card.reappear, "2")):
        moment = time.monotonic()
        change()
        await _until_count(nfd, count)
        screen.fact("  label", f"{_COUNT}={count}, {time.monotonic() - moment:.1f} s later", "yellow")

    screen.step("The feature discovery restarts")
    status, seconds = await node.end(DISCOVERY)
    screen.fact("ended", f"{seconds:.1f} s after it was asked to, exit status {status}", "green")
    kept = nfd.discover().labels
    await node.start(DISCOVERY, "--output-file", str(file))
    lost = 0
    for _ in range(20):
        await asyncio.sleep(0.05)
        lost += nfd.discover().labels != kept
    screen.fact("labels", f"the same {len(kept)} all the while; missing in {lost} of 20 looks", "green")


async def end(node: Node, screen: Screen) -> int:
    """End the feature discovery; returns its exit status."""
    screen.step("The feature discovery is asked to end")
    status, seconds = await node.end(DISCOVERY)
    screen.fact("ended", f"{seconds:.1f} s later, exit status {status}, its labels stay", "green")
    return status


async def _until_count(nfd: Worker, count: str) -> dict[str, str]:
    async with asyncio.timeout(_PATIENCE):
        while (labels := nfd.discover().labels).get(_COUNT) != count:  # noqa: ASYNC110  # a file is waited for
            await asyncio.sleep(0.02)
    return labels
