"""Asking kubelets, of every mood, who holds the cards: what is known, for how long, and what is counted."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_core.claims import Container, KnownCard
from npu_core.device import CardKey, Device
from npu_core.threads import NO_THREAD
from npu_metrics_exporter.counters import NO_SOCKET
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.pod_watch import Kubelet, PodTimes, PodWatch
from testkit.standins.kubelet import PodResourcesBehaviour, PodResourcesMode
from testkit.standins.kubelet.podresources import Report
from testkit.standins.pod_teller import RESOURCE, PodTeller, pod
from testkit.waiting import PATIENCE, eventually
from tests.device_plugin.clock import Clock

NPU0 = (Arch.WARBOY, 0)
NPU1 = (Arch.WARBOY, 1)
CARDS = [KnownCard(Device(0, Arch.WARBOY)), KnownCard(Device(1, Arch.WARBOY))]
EXHAUSTED = PodResourcesBehaviour(PodResourcesMode.RESOURCE_EXHAUSTED)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a name short enough for sockets in it."""
    path = Path(tempfile.mkdtemp(prefix="w-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def kubelet(directory: Path) -> AsyncIterator[PodTeller]:
    """A kubelet of whose pods one holds a card."""
    async with PodTeller(directory / "kubelet.sock", pod("a", "npu0pe0-1"), pod("idle")) as kubelet:
        yield kubelet


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Files:
    """The kubelet's files.

    Attributes:
        directory: where they are, and its socket.
    """

    directory: Path

    @property
    def paths(self) -> Kubelet:
        return Kubelet(str(self.directory / "kubelet.sock"), str(self.directory / "p"), str(self.directory / "l"))

    def record(self, *entries: tuple[str, str, str], resource: str = RESOURCE) -> None:
        """The checkpoint names these: a pod's UID, a container, a device."""
        recorded = [
            {"PodUID": uid, "ContainerName": container, "ResourceName": resource, "DeviceIDs": {"-1": [device]}}
            for uid, container, device in entries
        ]
        (self.directory / "p").mkdir(exist_ok=True)
        new = self.directory / "p" / "new"
        new.write_text(json.dumps({"Data": {"PodDeviceEntries": recorded, "RegisteredDevices": {}}, "Checksum": 1}))
        new.rename(self.directory / "p" / "kubelet_internal_checkpoint")

    def remove_checkpoint(self) -> None:
        (self.directory / "p" / "kubelet_internal_checkpoint").unlink()

    def name(self, *entries: str) -> None:
        """The log directory has these entries."""
        for entry in entries:
            (self.directory / "l" / entry).mkdir(parents=True)


@pytest.fixture
def files(directory: Path) -> Files:
    return Files(directory)


@pytest.fixture
def watch(files: Files, clock: Clock) -> PodWatch:
    return PodWatch(files.paths, clock=clock)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, but that the files of a kubelet are not there."""
    return [message for message in caplog.messages if message != Event.CHECKPOINT_UNREADABLE]


def holders(watch: PodWatch, card: CardKey = NPU0) -> list[str]:
    return [owner.container.pod for owner in watch.map(CARDS).of_card(card)]


async def test_it_knows_of_nobody_before_it_asked_and_then_what_the_last_answer_says(
    kubelet: PodTeller, watch: PodWatch
) -> None:
    assert not watch.map(CARDS).owners
    assert (watch.counts.up, watch.has_answer) == (False, False)
    kubelet.tell([pod("a", "npu0pe0-1"), pod("b", "npu1pe0"), pod("g", "GPU-0", resource="nvidia.com/gpu")])
    await watch.ask()
    assert (watch.counts.up, watch.has_answer) == (True, True)
    assert (holders(watch), holders(watch, NPU1)) == (["a"], ["b"])
    assert not watch.map(CARDS).unmapped
    kubelet.tell([pod("b", "npu0pe0-1")])
    await watch.ask()
    assert (holders(watch), holders(watch, NPU1)) == (["b"], [])


@pytest.mark.parametrize("is_file", [False, True])
async def test_where_there_is_no_socket_nobody_is_asked_and_that_is_counted(
    directory: Path, watch: PodWatch, *, is_file: bool
) -> None:
    if is_file:
        (directory / "kubelet.sock").write_text("no socket")
    await watch.ask()
    assert watch.counts.errors == {NO_SOCKET: 1}
    assert not watch.has_answer


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (PodResourcesMode.UNIMPLEMENTED, "UNIMPLEMENTED"),
        (PodResourcesMode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (None, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_counted_by_its_code_and_what_was_known_stays(
    kubelet: PodTeller, watch: PodWatch, mode: PodResourcesMode | None, code: str
) -> None:
    await watch.ask()
    if mode is None:
        await kubelet.stop(leave_socket=True)  # as one that is killed leaves it
    else:
        kubelet.behaviour = PodResourcesBehaviour(mode)
    await watch.ask()
    await watch.ask()
    assert watch.counts.errors == {code: 2}
    assert not watch.counts.up
    assert holders(watch) == ["a"]


async def test_a_kubelet_that_does_not_answer_in_time_is_given_up(kubelet: PodTeller, watch: PodWatch) -> None:
    kubelet.behaviour = PodResourcesBehaviour(delay=100 * PATIENCE)
    watch.times = PodTimes(deadline=0.1)
    await watch.ask()
    assert watch.counts.errors == {"DEADLINE_EXCEEDED": 1}


async def test_a_kubelet_that_restarted_is_asked_at_its_new_socket(
    kubelet: PodTeller, directory: Path, watch: PodWatch
) -> None:
    await watch.ask()
    await kubelet.stop()
    await watch.ask()
    assert watch.counts.errors == {NO_SOCKET: 1}
    async with PodTeller(directory / "kubelet.sock", pod("b", "npu1pe0-1")):
        await watch.ask()
    assert watch.counts.up
    assert (holders(watch), holders(watch, NPU1)) == ([], ["b"])


@pytest.mark.parametrize(("times", "stands"), [(PodTimes(10.0, ttl=60.0), 60.0), (PodTimes(120.0, ttl=30.0), 240.0)])
async def test_an_answer_stands_for_its_time_and_at_least_until_the_next_can_be_there(
    kubelet: PodTeller, watch: PodWatch, clock: Clock, times: PodTimes, stands: float
) -> None:
    """Or owners would come and go with every question."""
    watch.times = times
    await watch.ask()
    kubelet.behaviour = EXHAUSTED
    clock.now += stands
    await watch.ask()
    assert holders(watch) == ["a"]
    clock.now += 1
    assert holders(watch) == []
    kubelet.behaviour = PodResourcesBehaviour()
    await watch.ask()
    assert holders(watch) == ["a"]


# -- the kubelet's checkpoint ------------------------------------------------------------------------------------------


async def test_a_pod_is_named_while_its_init_container_alone_holds_a_card(
    kubelet: PodTeller, watch: PodWatch, files: Files
) -> None:
    """PodResources lists no ordinary init container."""
    kubelet.tell([pod("train")])
    files.record(("u1", "fetch", "npu0pe0-1"))
    files.name("default_train_u1")
    await watch.ask()
    [owner] = watch.map(CARDS).of_card(NPU0)
    assert owner.container == Container("default", "train", "fetch")
    assert watch.counts.up


async def test_a_kubelet_that_does_not_know_its_pods_takes_no_holder_away_however_long(
    kubelet: PodTeller, watch: PodWatch, files: Files, clock: Clock
) -> None:
    """It was started without its API server, which may be away for minutes."""
    files.record(("u1", "main", "npu0pe0-1"))
    files.name("default_a_u1")
    await watch.ask()
    assert (holders(watch), watch.counts.up) == (["a"], True)
    kubelet.tell([])
    for _ in range(10):
        clock.now += 60
        await watch.ask()
        assert (holders(watch), watch.counts.up) == (["a"], False)
    kubelet.tell([pod("a", "npu0pe0-1")])
    await watch.ask()
    assert (holders(watch), watch.counts.up) == (["a"], True)


async def test_without_a_checkpoint_too_an_answer_without_any_pod_takes_nobody_away_in_its_time(
    kubelet: PodTeller, watch: PodWatch, clock: Clock
) -> None:
    await watch.ask()
    kubelet.tell([])
    clock.now += watch.times.ttl
    await watch.ask()
    assert (holders(watch), watch.counts.up) == (["a"], False)
    clock.now += 1
    assert holders(watch) == []


async def test_a_pod_that_ended_is_named_until_the_checkpoint_is_written_anew(
    kubelet: PodTeller, watch: PodWatch, files: Files
) -> None:
    files.record(("u1", "main", "npu0pe0-1"))
    await watch.ask()
    kubelet.tell([pod("other")])
    await watch.ask()
    assert (holders(watch), watch.counts.up) == (["a"], False)
    files.record()
    await watch.ask()
    assert (holders(watch), watch.counts.up) == ([], True)


async def test_while_the_kubelet_is_away_the_checkpoint_stands_without_a_limit(
    kubelet: PodTeller, watch: PodWatch, files: Files, clock: Clock
) -> None:
    files.record(("u1", "main", "npu0pe0-1"))
    await watch.ask()
    await kubelet.stop()
    clock.now += 3600
    await watch.ask()
    assert (holders(watch), watch.counts.up) == (["a"], False)


async def test_a_checkpoint_that_cannot_be_read_any_more_stands_for_its_time(
    kubelet: PodTeller, watch: PodWatch, files: Files, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kubelet.tell([pod("train")])
    files.record(("u1", "fetch", "npu0pe0-1"))
    files.name("default_train_u1")
    await watch.ask()
    files.remove_checkpoint()
    clock.now += watch.times.ttl
    for _ in range(3):
        await watch.ask()
    assert holders(watch) == ["train"]
    clock.now += 1
    assert holders(watch) == []
    files.record(("u1", "fetch", "npu0pe0-1"))
    await watch.ask()
    assert holders(watch) == ["train"]
    assert caplog.messages == [Event.CHECKPOINT_UNREADABLE, Event.CHECKPOINT_READABLE]


async def test_a_name_is_learned_from_a_device_that_both_sources_name(
    kubelet: PodTeller, watch: PodWatch, files: Files
) -> None:
    """Without the log directory."""
    kubelet.tell([pod("a", "npu0pe0-1")])
    files.record(("u1", "main", "npu0pe0-1"))
    await watch.ask()
    kubelet.tell([pod("a")])
    await watch.ask()
    assert (holders(watch), watch.counts.unnamed) == (["a"], 0)


class WritesMeanwhile(PodTeller):
    """A kubelet that writes its checkpoint while it answers."""

    files: Files

    def _report(self) -> Report:
        self.files.record(("new", "main", "npu0pe0-1"))
        return super()._report()


async def test_nothing_is_learned_from_a_checkpoint_that_was_written_during_the_question(
    directory: Path, watch: PodWatch, files: Files
) -> None:
    files.record(("ended", "main", "npu0pe0-1"))
    async with WritesMeanwhile(directory / "kubelet.sock", pod("a", "npu0pe0-1")) as kubelet:
        kubelet.files = files
        await watch.ask()
        kubelet.tell([pod("b")])
        await watch.ask()
    assert (holders(watch), watch.counts.unnamed) == ([], 1)


async def test_a_holder_whose_name_cannot_be_told_is_said_once_and_counted_and_never_named(
    kubelet: PodTeller, watch: PodWatch, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    kubelet.tell([pod("other")])
    files.record(("u1", "fetch", "npu0pe0-1"))
    files.name("default_another_u2")
    for _ in range(3):
        await watch.ask()
        assert holders(watch) == []
    assert (watch.counts.unnamed, watch.counts.up) == (1, False)
    assert caplog.messages == [Event.HOLDER_UNNAMED]
    files.name("default_train_u1")
    await watch.ask()
    assert (holders(watch), watch.counts.unnamed) == (["train"], 0)


@pytest.mark.usefixtures("kubelet")
async def test_other_resources_in_the_checkpoint_are_somebody_else_s(watch: PodWatch, files: Files) -> None:
    files.record(("g1", "main", "GPU-1"), ("n1", "main", "0000:99:00.0"), resource="nvidia.com/gpu")
    await watch.ask()
    assert (holders(watch), watch.counts.unnamed, watch.counts.unmapped, watch.counts.up) == (["a"], 0, 0, True)


@pytest.mark.usefixtures("kubelet")
async def test_a_log_directory_that_cannot_be_listed_is_said_once_and_once_when_it_can(
    watch: PodWatch, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    files.record(("u1", "fetch", "npu0pe0-1"))
    for _ in range(3):
        await watch.ask()
    files.name("default_other_u2")
    for _ in range(3):
        await watch.ask()
    assert caplog.messages == [Event.POD_LOGS_UNREADABLE, Event.POD_LOGS_READABLE]


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_a_card_under_two_pods_is_counted_once_for_as_long_as_it_lasts(
    kubelet: PodTeller, watch: PodWatch, caplog: pytest.LogCaptureFixture
) -> None:
    kubelet.tell([pod("ended", "npu0pe0-1"), pod("runs", "npu0pe0-1")])
    for _ in range(3):
        await watch.ask()
        assert holders(watch) == ["ended", "runs"]
    assert watch.counts.conflicts == 1
    assert told(caplog) == [Event.HOLDERS_CONFLICT]
    kubelet.tell([pod("runs", "npu0pe0-1")])
    await watch.ask()
    watch.map(CARDS)
    kubelet.tell([pod("ended", "npu0pe0-1"), pod("runs", "npu0pe0-1")])
    # Once alone may be a card that changed hands between two sources.
    for expected in (1, 2):
        await watch.ask()
        watch.map(CARDS)
        assert watch.counts.conflicts == expected


async def test_a_device_of_an_npu_resource_that_is_no_card_is_told_of_once_and_counted(
    kubelet: PodTeller, watch: PodWatch, caplog: pytest.LogCaptureFixture
) -> None:
    kubelet.tell([pod("a", "npu7pe0-1", "npu0pe0-1")])
    for _ in range(3):
        await watch.ask()
        assert holders(watch) == ["a"]
    assert told(caplog) == [Event.DEVICE_UNKNOWN]
    assert watch.counts.unmapped == 1


async def test_a_kubelet_that_cannot_be_asked_is_told_of_once_and_once_when_it_can(
    kubelet: PodTeller, watch: PodWatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kubelet.behaviour = EXHAUSTED
    for _ in range(3):
        await watch.ask()
    kubelet.behaviour = PodResourcesBehaviour()
    for _ in range(3):
        await watch.ask()
    assert told(caplog) == [Event.KUBELET_SILENT, Event.KUBELET_TELLS]


async def test_an_answer_may_be_larger_than_grpc_takes_by_itself(kubelet: PodTeller, watch: PodWatch) -> None:
    """Kubelets list the processors of every container too; their own clients take 16 MiB."""
    devices = [f"cpu-{number:064}" for number in range(100)]
    kubelet.tell([*(pod(f"pod-{number}", *devices, resource="x.io/y") for number in range(1000)), pod("a", "npu0pe0")])
    await watch.ask()
    assert watch.counts.errors == {}
    assert holders(watch) == ["a"]


async def test_whatever_goes_wrong_the_watch_goes_on(
    kubelet: PodTeller, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = PodWatch(Kubelet("\0"), clock=clock)
    await watch.ask()
    await watch.ask()
    assert watch.counts.errors == {"UNFORESEEN": 2}
    assert caplog.messages.count(Event.QUESTION_FAILED) == 1
    assert kubelet.asked == 0


async def test_it_asks_at_once_and_again_and_can_be_ended_while_it_waits(kubelet: PodTeller, watch: PodWatch) -> None:
    watch.times = PodTimes(interval=0.01)
    watching = asyncio.create_task(watch.run())
    await eventually(lambda: kubelet.asked >= 3, "three questions")
    kubelet.behaviour = PodResourcesBehaviour(delay=100 * PATIENCE)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_the_time_to_the_next_question_grows_with_failures_alone(kubelet: PodTeller, watch: PodWatch) -> None:
    kubelet.behaviour = EXHAUSTED
    for failures in (1, 2):
        await watch.ask()
        assert watch._failures == failures
    kubelet.behaviour = PodResourcesBehaviour()
    await watch.ask()
    assert watch._failures == 0
    kubelet.behaviour = EXHAUSTED
    await watch.ask()
    await kubelet.stop()
    await watch.ask()  # to look for a socket costs nobody anything
    assert watch._failures == 0


async def test_without_a_thread_to_read_files_with_that_is_counted_and_what_was_known_stays(
    watch: PodWatch, kubelet: PodTeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch.ask()

    async def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", refuse)
    await watch.ask()
    assert watch.counts.errors == {NO_THREAD: 1}
    assert (holders(watch), watch.counts.up, kubelet.asked) == (["a"], False, 2)


@pytest.mark.parametrize(
    ("failures", "expected"), [(0, 10.0), (1, 10.0), (2, 20.0), (3, 30.0), (4, 30.0), (10_000, 30.0)]
)
def test_after_failures_it_asks_later_but_in_time_for_what_is_known(failures: int, expected: float) -> None:
    times = PodTimes(interval=10.0, ttl=60.0)
    assert times.wait(failures, chance=0.5) == expected
    assert times.wait(failures, chance=0.0) == pytest.approx(expected * 0.9)
    assert times.wait(failures, chance=1.0) == pytest.approx(expected * 1.1)


def test_grpc_is_not_loaded_for_a_kubelet_that_has_no_socket(directory: Path) -> None:
    """It is most of what the process would need memory for."""
    program = f"""
import asyncio, sys
from npu_core.threads import NO_THREAD
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.pod_watch import Kubelet, PodWatch
asyncio.run(PodWatch(Kubelet({str(directory / "kubelet.sock")!r})).ask())
print("grpc" in sys.modules, "google.protobuf" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]
