"""The exporter as a process: what it weighs, what it holds open, and when it says that it is ready."""

import asyncio
import http.client
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.config.reload import ReloadableSettings
from npu_core.service.options import live_fields
from npu_core.testing import rngd, warboy
from npu_metrics_exporter.app import Exporter
from npu_metrics_exporter.counters import Counters
from npu_metrics_exporter.events import Event
from npu_metrics_exporter.settings import OPTIONS, load
from npu_metrics_exporter.web.reload import WebConfigReloader
from testkit.services.attribute_files import blocking, sensor_file
from testkit.services.exporter import ScrapedNode
from testkit.services.process import environment_of
from testkit.waiting import PATIENCE, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOO_HEAVY = {"typer", "rich", "pydantic", "kubernetes", "grpc", "google", "bcrypt", "requests"}
UPTIME = "furiosa_npu_uptime"
HEARTBEAT = "furiosa_npu_exporter_loop_heartbeat_timestamp_seconds"
COLLECTIONS = "furiosa_npu_exporter_collect_duration_seconds_count"
DAY = 86_400.0
OFF = ("--pod-labels", "off")


@pytest_asyncio.fixture(loop_scope="module")
async def node() -> AsyncIterator[ScrapedNode]:
    """A card of each family; nothing runs yet."""
    async with ScrapedNode(warboy(0), rngd(0)) as node:
        yield node


# -- what it weighs ----------------------------------------------------------------------------------------------------


async def test_the_resting_process_has_loaded_no_module_that_it_has_no_use_for(node: ScrapedNode) -> None:
    # What runs is the command's own main function, in a process that says at its end what it has loaded.
    program = (
        "import atexit, sys\n"
        "from npu_metrics_exporter.entry import main\n"
        "atexit.register(lambda: print(*sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "main()\n"
    )
    given = ("--listen-address", f"127.0.0.1:{node.port}", "--pod-labels", "off")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", program, *given, stdout=asyncio.subprocess.PIPE, env=environment_of(node.host)
    )
    await answers(node, "/readyz", 200)
    assert (await node.get("/metrics")).status == 200
    process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()
    modules = set(output.decode().split())
    assert process.returncode == 0
    assert "npu_metrics_exporter" in modules
    assert modules & TOO_HEAVY == set()


# -- what it holds open ------------------------------------------------------------------------------------------------


async def test_no_device_file_is_open_at_any_time(node: ScrapedNode) -> None:
    await node.up(*OFF, "--interval", "0.1")
    first, seen = await node.scrape(), set[str]()
    while (await node.scrape()).value(COLLECTIONS) < first.value(COLLECTIONS) + 10:
        seen |= open_files(node.exporter.pid)
    assert any(link.startswith("socket:") for link in seen)
    assert [link for link in seen if link.startswith(node.host.devfs)] == []


def open_files(pid: int) -> set[str]:
    links = set[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(str(entry.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return links


# -- when it is ready --------------------------------------------------------------------------------------------------


async def answers(node: ScrapedNode, path: str, status: int) -> None:
    """The page comes to answer like this."""

    async def does() -> bool:
        return await answer(node, path) == status

    look: Callable[[], bool | Awaitable[bool]] = does
    await eventually(look, f"{path} answers {status}")


async def answer(node: ScrapedNode, path: str) -> int:
    try:
        return (await node.get(path)).status
    except ConnectionError:
        return 0


async def test_it_is_ready_with_the_first_collection_and_not_before(node: ScrapedNode) -> None:
    # A card that hangs delays the first collection by the two seconds that it is given.
    blocking(sensor_file(node.host, node.host.card(Arch.WARBOY, 0), "temp1_input"))
    await node.start(*OFF)
    await answers(node, "/healthz", 200)
    assert (await node.get("/readyz")).status == 503
    early = await node.get("/metrics")
    assert (early.status, b"furiosa_npu_alive" in early.body) == (503, False)
    await answers(node, "/readyz", 200)
    scrape = await node.scrape()
    assert scrape.value("furiosa_npu_alive", arch="warboy") == 0
    assert scrape.value("furiosa_npu_alive", arch="renegade") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_clean(node: ScrapedNode, number: int) -> None:
    await node.up("--interval", "60")
    assert len((await node.scrape()).rows(UPTIME)) == 2
    assert await node.exporter.stop(number) == 0
    assert node.exporter.logged(Event.STOPPED)


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [DAY, -DAY])
async def test_a_step_of_the_wall_clock_costs_no_value_and_no_health(node: ScrapedNode, step: float) -> None:
    ahead = 0.0
    telemetry, options = Counters(), {"listen-address": f"127.0.0.1:{node.port}", "interval": "0.2"}
    options |= {"pod-labels": "off", "sysfs": node.host.sysfs, "devfs": node.host.devfs}
    following = ReloadableSettings(lambda read: load(options, {}, read), live_fields(OPTIONS), telemetry.config)
    exporter = Exporter(following, WebConfigReloader(None), telemetry, wall=lambda: time.time() + ahead)
    stopped = asyncio.Event()
    running = asyncio.create_task(exporter.run(stopped))
    await answers(node, "/readyz", 200)
    before = await node.scrape()

    ahead = step
    after = await node.until(lambda scrape: abs(scrape.value(HEARTBEAT) - before.value(HEARTBEAT)) > DAY / 2)

    node.host.card(Arch.WARBOY, 0).set_uptime(7)
    after = await node.until(lambda scrape: scrape.value(UPTIME, arch="warboy") == 7)
    assert [row["device"] for row in after.rows(UPTIME)] == [row["device"] for row in before.rows(UPTIME)]
    assert [await answer(node, path) for path in ("/healthz", "/readyz")] == [200, 200]
    stopped.set()
    await running


# -- without a file descriptor left ------------------------------------------------------------------------------------


def open_numbers(pid: int) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}


def idle_connection(port: int) -> http.client.HTTPConnection:
    """A client that has asked once and may ask again."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    return connection


def is_cut_off(connection: http.client.HTTPConnection) -> bool:
    assert connection.sock is not None
    try:
        return connection.sock.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_without_a_file_descriptor_left_an_idle_connection_makes_room_for_the_next_scrape(
    node: ScrapedNode,
) -> None:
    await node.up("--interval", "60", *OFF)
    pid = node.exporter.pid
    idle = [idle_connection(node.port)]
    while max(held := open_numbers(pid)) >= len(held):  # a number is free that is below the others
        idle.append(idle_connection(node.port))
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(held), most))
    assert (await node.get("/metrics")).status == 200
    assert node.exporter.logged("cannot take connections")
    assert is_cut_off(idle[0])
    for connection in idle:
        connection.close()
