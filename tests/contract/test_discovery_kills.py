"""Killed at any moment, the discovery leaves a whole file or none: whoever reads in a tight loop never sees another."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from npu_core.testing import warboy
from npu_feature_discovery.events import Event
from npu_feature_discovery.labels.feature_text import render
from npu_feature_discovery.sinks.feature_file import SCRATCH_DIR, FeatureFileSink
from testkit.services.discovery import FILE_NAME, LabelledNode
from testkit.waiting import PATIENCE, until

KILLS = 200
ROUNDS_OF_THE_SERVICE = 3
START = (0.05, 0.6)
"""Seconds from a start of the service to its end, by chance: from before it has looked to after it has written."""
SHORT = {"beta.furiosa.ai/npu.count": "0"}
LONG = {f"beta.furiosa.ai/npu.product{number}.count": "x" * 63 for number in range(400)}
"""More than a page of memory, and less than NFD's limit."""

NURSERY = """
import os, sys
from npu_feature_discovery.sinks.feature_file import FeatureFileSink

path, *sets = sys.argv[1:]
sets = [dict(pair.split("=") for pair in labels.split(",")) for labels in sets]
for line in sys.stdin:
    child = os.fork()
    if not child:
        sink = FeatureFileSink(path)
        while True:
            for labels in sets:
                sink.publish(labels)
    print(child, flush=True)
    sys.stdin.readline()
    os.waitpid(child, 0)
"""
"""For each line it reads it starts a process that writes as fast as it can; the next line says that it was killed."""


@dataclass
class Reader:
    """Reads one file in a tight loop, as a hasty nfd-worker would.

    Attributes:
        path: the file.
        right: what it may hold.
        wrong: what was seen that should not be.
        seen: which of ``right`` were seen.
    """

    path: Path
    right: frozenset[bytes]
    wrong: list[str] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        existed = False
        while not self._stop.is_set():
            try:
                with self.path.open("rb", buffering=0) as file:
                    mode, content = os.fstat(file.fileno()).st_mode, file.read()
            except FileNotFoundError:
                if existed:
                    self.wrong.append("it was gone")
                continue
            existed = True
            self.seen.add(content)
            if mode != 0o100644:
                self.wrong.append(f"its mode was {mode:o}")
            if content not in self.right:
                self.wrong.append(f"it held {len(content)} bytes: {content[:40]!r}")


@contextmanager
def nursery(path: Path) -> Iterator["subprocess.Popen[str]"]:
    sets = [",".join(f"{key}={value}" for key, value in labels.items()) for labels in (SHORT, LONG)]
    command = [sys.executable, "-c", NURSERY, str(path), *sets]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process


def kill_one(nursery: "subprocess.Popen[str]", chance: random.Random) -> None:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("start\n")
    pid = int(nursery.stdout.readline())
    time.sleep(chance.uniform(0, 0.008))
    os.kill(pid, signal.SIGKILL)
    nursery.stdin.write("killed\n")


def test_a_reader_never_sees_half_a_file_while_writers_are_killed(tmp_path: Path) -> None:
    file, chance, littered = tmp_path / FILE_NAME, random.Random(4), 0  # noqa: S311  # when to kill
    with Reader(file, frozenset({render(SHORT), render(LONG)})) as reader, nursery(file) as writers:

        def kills() -> bool:
            """Kill many; whether one was killed between its temporary file and the rename, and both texts were read."""
            nonlocal littered
            for _ in range(KILLS):
                kill_one(writers, chance)
                littered += any((tmp_path / SCRATCH_DIR).glob("*"))
                assert {path.name for path in tmp_path.iterdir()} <= {FILE_NAME, SCRATCH_DIR}
            return littered > 0 and len(reader.seen) == 2

        until(kills, "a writer that leaves its temporary file, and two texts")
    assert reader.wrong == []
    FeatureFileSink(str(file)).publish(SHORT)
    assert list((tmp_path / SCRATCH_DIR).iterdir()) == []


async def test_a_reader_never_sees_half_a_file_while_the_service_is_killed() -> None:
    chance = random.Random(4)  # noqa: S311  # when to kill
    async with LabelledNode(warboy(0), warboy(1)) as node:
        card = node.host.cards[1]
        await node.up()
        both = node.file.read_bytes()
        card.disappear()
        await node.until_labelled(npu_count="1")
        with Reader(node.file, frozenset({both, node.file.read_bytes()})) as reader:
            for _ in range(ROUNDS_OF_THE_SERVICE):
                await node.discovery.stop(signal.SIGKILL)
                (card.disappear if card.present else card.reappear)()
                await node.start()
                await asyncio.sleep(chance.uniform(*START))
                await node.discovery.stop(signal.SIGKILL)
                await node.start()
                await node.until_labelled(npu_count="2" if card.present else "1")
        # One that has not got to its first line is ended by the signal itself, whose status is another.
        await node.discovery.until_logged(Event.STARTING, PATIENCE)
        assert reader.wrong == []
        assert len(reader.seen) == 2
