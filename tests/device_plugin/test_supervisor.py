"""Staying registered although the directory of the sockets is everybody's: with a kubelet in the same process."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from npu_core.arch import Arch
from npu_device_plugin.allocation.resource_state import Offer
from npu_device_plugin.events import Event
from npu_device_plugin.kubelet.registration import Registration
from npu_device_plugin.kubelet.servicer import OfferServicer
from npu_device_plugin.kubelet.sockets import scratch_name
from npu_device_plugin.kubelet.supervisor import CAUSES, Loss, Supervisor
from testkit.logged import logged
from testkit.refused_threads import no_more_threads
from testkit.services.direct import calls_to
from testkit.standins.kubelet import KubeletSettings, StandInKubelet, Wire
from testkit.waiting import PATIENCE, eventually

RESOURCE = "beta.furiosa.ai/npu"
ATTEMPTS = 3
"""Attempts in vain before the trouble ends."""


@asynccontextmanager
async def supervised(directory: Path) -> AsyncIterator[Supervisor]:
    """A resource without units, kept registered for as long as the block runs."""
    registration = Registration(str(directory), "furiosa-npu", RESOURCE)
    supervisor = Supervisor(registration, OfferServicer(RESOURCE, Offer(Arch.WARBOY)), ".npu-scratch")
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def kubelet(socket_dir: Path) -> AsyncIterator[StandInKubelet]:
    async with StandInKubelet(KubeletSettings(socket_dir, wire=Wire.DIRECT)) as kubelet:
        yield kubelet


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def listens(kubelet: StandInKubelet) -> None:
    await kubelet.until(lambda view: view.streams(RESOURCE) == 1, PATIENCE)


async def fails(supervisor: Supervisor) -> None:
    """Wait for several more attempts in vain."""
    failed = supervisor._telemetry.failed_registrations
    wanted = failed[RESOURCE] + ATTEMPTS
    await eventually(lambda: failed[RESOURCE] >= wanted, "attempts in vain")


WIPER = """
import os, sys
while True:
    for name in os.listdir(sys.argv[1]):
        if name.startswith((".npu", "furiosa")):
            try:
                os.unlink(f"{sys.argv[1]}/{name}")
            except OSError:
                pass
"""


@contextmanager
def wiping(directory: Path) -> Iterator[None]:
    """Every socket but the kubelet's is removed as soon as it appears, as by a kubelet that starts."""
    # A process of its own: a thread would wait for the very one that it is to surprise.
    with subprocess.Popen([sys.executable, "-c", WIPER, str(directory)]) as process:
        try:
            yield
        finally:
            process.kill()


async def test_it_serves_as_soon_as_a_directory_in_its_sockets_place_is_gone(
    socket_dir: Path, kubelet: StandInKubelet, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = socket_dir / "furiosa-npu"
    in_the_way.mkdir()
    async with supervised(socket_dir) as supervisor:
        await fails(supervisor)
        assert not supervisor.ready
        in_the_way.rmdir()
        await listens(kubelet)
    assert caplog.messages.count(Event.CANNOT_REGISTER) == 1


async def test_a_directory_that_takes_its_sockets_place_later_only_interrupts_it(
    socket_dir: Path, kubelet: StandInKubelet
) -> None:
    own = socket_dir / "furiosa-npu"
    async with supervised(socket_dir) as supervisor:
        await listens(kubelet)
        own.unlink()
        own.mkdir()
        await fails(supervisor)
        own.rmdir()
        await listens(kubelet)


@pytest.mark.parametrize("registered_before", [True, False])
async def test_it_outlives_somebody_who_removes_its_sockets_as_soon_as_they_appear(
    socket_dir: Path, kubelet: StandInKubelet, *, registered_before: bool
) -> None:
    async with supervised(socket_dir) as supervisor:
        if registered_before:
            await listens(kubelet)
        with wiping(socket_dir):
            await fails(supervisor)
        registrations = kubelet.view().registrations(RESOURCE)
        await kubelet.until(
            lambda view: view.streams(RESOURCE) == 1 and view.registrations(RESOURCE) > registrations, PATIENCE
        )
        async with calls_to(socket_dir / "furiosa-npu") as calls:
            assert (await calls.options()).get_preferred_allocation_available


async def test_it_removes_the_sockets_of_plugins_that_ended_before_they_served(
    socket_dir: Path, kubelet: StandInKubelet
) -> None:
    left_behind = socket_dir / scratch_name()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left_behind))
    async with supervised(socket_dir):
        await listens(kubelet)
        assert not left_behind.exists()


async def test_it_takes_the_place_of_a_listening_socket_that_is_no_plugins(
    socket_dir: Path, kubelet: StandInKubelet
) -> None:
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(socket_dir / "furiosa-npu"))
        foreign.listen()
        async with supervised(socket_dir):
            await listens(kubelet)


async def test_it_leaves_its_place_to_a_plugin_that_is_at_work_there(socket_dir: Path, kubelet: StandInKubelet) -> None:
    async with supervised(socket_dir):
        await listens(kubelet)
        async with supervised(socket_dir) as second:
            await fails(second)
            assert not second.ready
        assert kubelet.view().registrations(RESOURCE) == 1


async def test_it_registers_through_a_link_to_the_kubelets_socket(socket_dir: Path, kubelet: StandInKubelet) -> None:
    kubelet.socket.rename(socket_dir / "real.sock")
    kubelet.socket.symlink_to("real.sock")
    async with supervised(socket_dir):
        await listens(kubelet)


async def test_without_threads_another_instances_socket_is_not_asked_and_the_lack_is_told(
    socket_dir: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as other, no_more_threads():
        other.bind(str(socket_dir / "furiosa-npu"))
        other.listen()
        async with supervised(socket_dir) as supervisor:
            await fails(supervisor)
    assert "the system refuses the threads to serve with" in str(caplog.records[-1].__dict__)
    assert "Traceback" not in capfd.readouterr().err


async def test_each_registration_is_told_and_counted_by_its_cause(
    socket_dir: Path, kubelet: StandInKubelet, caplog: pytest.LogCaptureFixture
) -> None:
    own = socket_dir / "furiosa-npu"
    begins = [(Event.SERVING, {"resource": RESOURCE, "socket": str(own)}), (Event.REGISTERED, {"resource": RESOURCE})]

    def told() -> list[tuple[str, dict[str, object]]]:
        events = {Event.SERVING, Event.REGISTERED, Event.REGISTRATION_LOST, Event.CANNOT_REGISTER}
        return [line for line in logged(caplog) if line[0] in events]

    async with supervised(socket_dir) as supervisor:
        counted = supervisor._telemetry.registrations
        await eventually(lambda: supervisor.ready, "the first registration")
        assert told() == begins
        own.unlink()
        await eventually(lambda: counted.total() == 2 and supervisor.ready, "the second registration")
        assert told() == [(Event.REGISTRATION_LOST, {"resource": RESOURCE, "cause": Loss.OWN_SOCKET}), *begins]
    assert kubelet.view().registrations(RESOURCE) == 2
    assert counted == {(RESOURCE, "start"): 1, (RESOURCE, "own_socket"): 1}
    assert set(CAUSES) == {"start", "own_socket", "kubelet_restarted", "stream_ended", "no_stream"}
