"""Calls on the plugin's socket, reasonable ones and others."""

import asyncio
import random
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from npu_core.arch import Arch
from npu_core.testing import warboy
from npu_device_plugin._kubelet import deviceplugin_pb2 as api
from testkit.services.direct import PluginCalls, calls_to
from testkit.services.node import OFTEN, RESOURCE, Node
from testkit.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNITS = tuple(f"npu{card}pe{core}" for card in range(4) for core in range(2))
NONSENSE = (*UNITS, "", "npu0", "npu0pe0-1", "npu9pe0", "NPU0PE0", "npu00pe0", "../etc/passwd", "엔피유", "x" * 5000)
INT32_MAX = 2**31 - 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Node]:
    """Four cards of two units."""
    async with Node(*(warboy(index) for index in range(4))) as node:
        await node.up(*OFTEN, "--default-pe", "Single")
        await node.offers(*UNITS)
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def calls(node: Node) -> AsyncIterator[PluginCalls]:
    """Calls to its plugin."""
    async with calls_to(node.socket) as calls:
        yield calls


async def _refusal(calls: PluginCalls, *containers: tuple[str, ...]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.allocate(*containers)
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("unit", ["npu9pe0", "npu0pe0-1", "npu0", "NPU0PE0", "", "../npu0pe0"])
async def test_an_unknown_unit_is_not_found(calls: PluginCalls, unit: str) -> None:
    assert await _refusal(calls, (unit,)) == (grpc.StatusCode.NOT_FOUND, f"{RESOURCE} has no unit {unit!r}")


async def test_one_unknown_unit_is_enough_to_get_nothing(calls: PluginCalls) -> None:
    code, _ = await _refusal(calls, ("npu0pe0",), ("npu1pe0", "npu9pe0"))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_an_unhealthy_unit_is_refused_with_the_reason(node: Node, calls: PluginCalls) -> None:
    card = node.host.card(Arch.WARBOY, 2)
    card.die()
    await node.kubelet.until(lambda view: view.unhealthy(RESOURCE) == {"npu2pe0", "npu2pe1"}, PATIENCE)

    code, text = await _refusal(calls, ("npu1pe0", "npu2pe1"))

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text == "unit npu2pe1 is unhealthy: the driver reports the card as dead"
    card.revive()
    await node.offers(*UNITS)


async def test_every_container_of_a_request_gets_exactly_one_answer_in_its_place(calls: PluginCalls) -> None:
    answers = await calls.allocate(("npu3pe1",), ("npu0pe1", "npu0pe0"), ("npu2pe0",))

    assert [answer.envs["NPU_DEVNAME"] for answer in answers] == ["npu3pe1", "npu0pe0,npu0pe1", "npu2pe0"]
    assert await calls.allocate() == []


async def test_what_a_container_gets_depends_on_its_units_and_not_on_their_order_or_the_time(
    calls: PluginCalls,
) -> None:
    ids = ["npu0pe0", "npu1pe1", "npu3pe0"]
    orders = [ids, ids[::-1], ids[1:] + ids[:1]]

    answers = [(await calls.allocate(order))[0].SerializeToString(deterministic=True) for order in orders]

    assert len(set(answers)) == 1


async def test_a_preference_is_made_of_what_is_available_and_has_the_size_that_was_asked_for(
    calls: PluginCalls,
) -> None:
    assert await calls.prefer(UNITS, (), 2) == ("npu0pe0", "npu0pe1")
    assert await calls.prefer(UNITS, ("npu2pe1",), 2) == ("npu2pe0", "npu2pe1")
    assert await calls.prefer(("npu0pe0", "npu1pe0", "npu1pe1"), (), 2) == ("npu1pe0", "npu1pe1")
    assert await calls.prefer((*UNITS, *UNITS, "npu9pe0"), (), 8) == UNITS


@pytest.mark.parametrize(
    ("available", "must_include", "size"),
    [
        ((), (), 0),
        ((), (), 1),
        (UNITS, (), 0),
        (UNITS, (), -1),
        (UNITS, (), -INT32_MAX - 1),
        (UNITS, (), INT32_MAX),
        (UNITS, (), 9),
        (UNITS, ("npu9pe0",), 2),
        (UNITS, ("npu0pe0", "npu1pe0"), 1),
        (("npu9pe0", ""), (), 1),
    ],
)
async def test_where_there_is_no_such_choice_there_is_no_preference_and_no_error(
    calls: PluginCalls, available: tuple[str, ...], must_include: tuple[str, ...], size: int
) -> None:
    assert await calls.prefer(available, must_include, size) == ()


def _nonsense(rng: random.Random) -> api.ContainerPreferredAllocationRequest:
    return api.ContainerPreferredAllocationRequest(
        available_deviceIDs=rng.choices(NONSENSE, k=rng.randrange(20)),
        must_include_deviceIDs=rng.choices(NONSENSE, k=rng.choice((0, 0, 1, 3))),
        allocation_size=rng.choice((*range(-1, 10), INT32_MAX)),
    )


async def test_no_request_for_a_preference_is_too_strange_to_be_answered(calls: PluginCalls) -> None:
    rng = random.Random(0)  # noqa: S311  # reproducible on purpose
    batches = [[_nonsense(rng) for _ in range(rng.randrange(5))] for _ in range(300)]

    answers = await asyncio.gather(*(calls.prefer_all(*batch) for batch in batches))

    made = 0
    for batch, answer in zip(batches, answers, strict=True):
        for request, ids in zip(batch, answer, strict=True):
            made += bool(ids)
            allowed = {*request.available_deviceIDs, *request.must_include_deviceIDs} & set(UNITS)
            assert set(ids) <= allowed
            assert len(set(ids)) == len(ids)
            assert not ids or len(ids) == request.allocation_size
            assert not ids or set(request.must_include_deviceIDs) <= set(ids)
    # The strangeness is not such that the plugin could always say nothing.
    assert made > 50


async def test_a_preference_is_given_also_for_units_that_are_unhealthy_by_now(node: Node, calls: PluginCalls) -> None:
    """The kubelet asks about what it believes to be healthy; between its list and its question a card may die."""
    card = node.host.card(Arch.WARBOY, 0)
    card.die()
    await node.kubelet.until(lambda view: len(view.unhealthy(RESOURCE)) == 2, PATIENCE)

    assert await calls.prefer(UNITS[:2], (), 2) == UNITS[:2]
    card.revive()
    await node.offers(*UNITS)
