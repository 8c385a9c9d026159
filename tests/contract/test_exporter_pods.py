"""Who holds the cards, from kubelets of every mood; and that none of them ever touches a scrape."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_metrics_exporter.events import Event
from testkit.services.exporter import Scrape, ScrapedNode
from testkit.standins.kubelet import PodResourcesBehaviour, PodResourcesMode
from testkit.standins.pod_teller import pod
from testkit.waiting import PATIENCE

ROWS = "furiosa_npu_pod_info"
UP = "furiosa_npu_exporter_podresources_up"
ERRORS = "furiosa_npu_exporter_podresources_errors_total"
UNMAPPED = "furiosa_npu_exporter_unmapped_devices"
UNNAMED = "furiosa_npu_exporter_unnamed_holders"
CONFLICTS = "furiosa_npu_exporter_podresources_conflicts_total"


@pytest_asyncio.fixture
async def node() -> AsyncIterator[ScrapedNode]:
    """Two Warboys, of which pod ``a`` holds the first; nothing runs yet."""
    async with ScrapedNode(warboy(0), warboy(1)) as node:
        node.kubelet.tell([pod("a", "npu0pe0-1")])
        yield node


async def up(node: ScrapedNode, *options: str) -> None:
    """Start the kubelet and the exporter, and wait until it knows of pod ``a``."""
    await node.kubelet.start()
    await node.up(*options)
    await node.until(lambda scrape: pods(scrape) == ["a"])


def pods(scrape: Scrape) -> list[str]:
    return sorted(row["pod"] for row in scrape.rows(ROWS))


async def untouched(node: ScrapedNode) -> None:
    """Every card has its series, with current values, whatever the kubelet does meanwhile."""
    card = node.host.card(Arch.WARBOY, 1)
    for uptime in (111_111, 222_222):
        card.set_uptime(uptime)
        await node.until(partial(_is_up_for, uptime))
    scrape = await node.scrape()
    assert [scrape.value("furiosa_npu_alive", device=device) for device in ("npu0", "npu1")] == [1, 1]
    assert (await node.get("/healthz")).status == 200
    assert (await node.get("/readyz")).status == 200


def _is_up_for(seconds: int, scrape: Scrape) -> bool:
    return scrape.value("furiosa_npu_uptime", device="npu1") == seconds


async def test_a_card_s_holder_is_a_row_to_join_with(node: ScrapedNode) -> None:
    await up(node)
    scrape = await node.until(lambda scrape: scrape.value(UP) == 1)
    [row] = scrape.rows(ROWS)
    assert row == {
        "device": "npu0",
        "arch": "warboy",
        "core": "0-1",
        "uuid": row["uuid"],
        "pci_bus_id": row["pci_bus_id"],
        "resource": "beta.furiosa.ai/npu",
        "namespace": "default",
        "pod": "a",
        "container": "main",
    }
    node.kubelet.tell([pod("b", "npu1pe0-1", namespace="team")])
    await node.until(
        lambda scrape: [(row["device"], row["namespace"]) for row in scrape.rows(ROWS)] == [("npu1", "team")]
    )


async def test_without_a_socket_grpc_is_not_in_the_process_and_with_one_it_comes(node: ScrapedNode) -> None:
    await node.up()
    await node.until(lambda scrape: scrape.value(ERRORS, code="NO_SOCKET") >= 2)
    assert not _maps_grpc(node.exporter.pid)
    await node.kubelet.start()
    await node.until(lambda scrape: pods(scrape) == ["a"])
    assert _maps_grpc(node.exporter.pid)


def _maps_grpc(pid: int) -> bool:
    return "grpc" in Path(f"/proc/{pid}/maps").read_text()


async def test_switched_off_nobody_is_asked_and_nothing_told(node: ScrapedNode) -> None:
    await node.kubelet.start()
    await node.up("--pod-labels", "off")
    await untouched(node)
    scrape = await node.scrape()
    assert not [name for name, _, _ in scrape.samples if "pod" in name]
    assert node.kubelet.asked == 0
    assert not _maps_grpc(node.exporter.pid)


async def restarted(node: ScrapedNode) -> None:
    """The kubelet goes with its socket and comes back with another one."""
    await node.kubelet.stop()
    await node.until(lambda scrape: scrape.value(UP) == 0)
    assert pods(await node.scrape()) == ["a"]
    await node.kubelet.start()


async def killed(node: ScrapedNode) -> None:
    """The kubelet leaves its socket behind, at which nobody answers."""
    await node.kubelet.stop(leave_socket=True)
    await node.until(lambda scrape: bool(scrape.rows(ERRORS, code="UNAVAILABLE")))
    await untouched(node)
    assert pods(await node.scrape()) == ["a"]
    await node.kubelet.start()


async def refusing(node: ScrapedNode) -> None:
    """Somebody else asks it too often."""
    node.kubelet.behaviour = PodResourcesBehaviour(PodResourcesMode.RESOURCE_EXHAUSTED)
    await node.until(lambda scrape: bool(scrape.rows(ERRORS, code="RESOURCE_EXHAUSTED")))
    await untouched(node)
    assert pods(await node.scrape()) == ["a"]
    node.kubelet.behaviour = PodResourcesBehaviour()


async def slow(node: ScrapedNode) -> None:
    """It does not answer before its deadline."""
    node.kubelet.behaviour = PodResourcesBehaviour(delay=PATIENCE)
    await untouched(node)
    assert pods(await node.scrape()) == ["a"]
    node.kubelet.behaviour = PodResourcesBehaviour()


@pytest.mark.parametrize("fault", [restarted, killed, refusing, slow], ids=lambda fault: fault.__name__)
async def test_through_a_fault_cards_are_told_of_as_ever_and_the_next_holder_is_found_after_it(
    node: ScrapedNode, fault: Callable[[ScrapedNode], Awaitable[None]]
) -> None:
    await up(node)
    await fault(node)
    node.kubelet.tell([pod("b", "npu0pe0-1")])
    await node.until(lambda scrape: pods(scrape) == ["b"])
    assert (await node.scrape()).value(UP) == 1
    await untouched(node)


async def test_one_card_under_two_pods_is_two_rows_and_a_conflict_and_one_series(node: ScrapedNode) -> None:
    await up(node)
    node.kubelet.tell([pod("ended", "npu0pe0-1"), pod("runs", "npu0pe0-1")])
    scrape = await node.until(lambda scrape: pods(scrape) == ["ended", "runs"])
    assert scrape.value("furiosa_npu_alive", device="npu0") == 1
    await node.until(lambda scrape: scrape.value(CONFLICTS) == 1)
    await untouched(node)
    assert (await node.scrape()).value(CONFLICTS) == 1


async def test_inline_a_whole_card_s_series_name_its_holder_unless_two_claim_it(node: ScrapedNode) -> None:
    await up(node, "--pod-labels", "inline")
    node.kubelet.tell([pod("a", "npu0pe0-1"), pod("half", "npu1pe0")])
    scrape = await node.until(lambda scrape: pods(scrape) == ["a", "half"])
    assert scrape.value("furiosa_npu_alive", device="npu0", namespace="default", pod="a", container="main") == 1
    [row] = scrape.rows("furiosa_npu_alive", device="npu1")
    assert not row.keys() & {"namespace", "pod", "container"}
    node.kubelet.tell([pod("a", "npu0pe0-1"), pod("ended", "npu0pe0-1")])
    scrape = await node.until(lambda scrape: pods(scrape) == ["a", "ended"])
    [row] = scrape.rows("furiosa_npu_alive", device="npu0")
    assert "pod" not in row


async def test_what_is_not_ours_is_passed_over(node: ScrapedNode) -> None:
    node.kubelet.tell(
        [
            pod("gpu", "GPU-1", "npu0", "npu7pe0-1", "0000:99:00.0", resource="nvidia.com/npu"),
            pod("never", "npu7pe0-1", "npu0pe5", "GPU-\u00fcber", ""),
            pod("other-family", "npu0pe0-7", resource="beta.furiosa.ai/npu-renegade"),
            pod("a", "npu0pe0-1"),
        ]
    )
    await node.kubelet.start()
    await node.up()
    await node.until(lambda scrape: pods(scrape) == ["a"])
    await untouched(node)
    told = node.exporter.logged(Event.DEVICE_UNKNOWN)
    assert len(told) == len(set(told)) == 5
    assert (await node.scrape()).value(UNMAPPED) == 5


# -- the kubelet's checkpoint ------------------------------------------------------------------------------------------


async def test_a_pod_is_named_while_its_init_container_alone_holds_a_card(node: ScrapedNode) -> None:
    node.kubelet.tell([pod("train")])
    node.record(("u1", "fetch", "npu0pe0-1"))
    await node.kubelet.start()
    await node.up()
    scrape = await node.until(lambda scrape: scrape.value(UNNAMED) == 1)
    assert (pods(scrape), scrape.value(UP)) == ([], 0)
    (node.pod_logs_dir / "default_train_u1").mkdir()
    scrape = await node.until(lambda scrape: pods(scrape) == ["train"])
    assert [row["container"] for row in scrape.rows(ROWS)] == ["fetch"]
    assert (scrape.value(UP), scrape.value(UNNAMED)) == (1, 0)
    assert len(node.exporter.logged(Event.HOLDER_UNNAMED)) == 1


async def test_a_kubelet_that_was_restarted_without_its_api_server_takes_no_holder_away(node: ScrapedNode) -> None:
    """It answers, and lists no pods for minutes: longer here than any answer stands."""
    node.record(("u1", "main", "npu0pe0-1"))
    await up(node, "--pod-ttl", "0.5")
    await node.kubelet.stop()
    node.kubelet.tell([])
    await node.kubelet.start()
    asked = node.kubelet.asked
    scrape = await node.until(lambda scrape: scrape.value(UP) == 0 and node.kubelet.asked > asked + 20)
    assert pods(scrape) == ["a"]
    node.kubelet.tell([pod("a", "npu0pe0-1")])
    scrape = await node.until(lambda scrape: scrape.value(UP) == 1)
    assert pods(scrape) == ["a"]
