"""The stand-in kubelet towards pods: GetPreferredAllocation."""

from __future__ import annotations

import grpc
import pytest

from standins.kubelet import (
    ContainerSpec,
    UnexpectedAdmissionError,
)
from standins.scripted_plugin import (
    FOUR,
    PREFERS,
    RESOURCE,
    Failure,
    StartKubelet,
    StartPlugin,
    devices,
)


async def test_the_preference_is_asked_for_only_when_offered(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet)

    await kubelet.run_pod("pod-a", {RESOURCE: 1})

    assert plugin.preferences == []


async def test_the_preference_is_asked_over_all_that_is_free_and_followed(
    start_kubelet: StartKubelet, advertise: StartPlugin
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, devices(*FOUR), PREFERS)
    plugin.on_prefer = lambda _: ["npu2", "npu0"]
    await kubelet.run_pod("pod-a", {RESOURCE: 2})
    plugin.on_prefer = lambda _: ["npu3"]

    admitted = await kubelet.run_pod("pod-b", {RESOURCE: 1})

    assert kubelet.view().held(RESOURCE) == {"npu0", "npu2", "npu3"}
    assert admitted.device_ids == ("npu3",)
    asked = plugin.preferences[1]
    assert set(asked.available_deviceIDs) == {"npu1", "npu3"}
    assert list(asked.must_include_deviceIDs) == []
    assert asked.allocation_size == 1


async def test_what_an_init_container_had_must_be_included(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, devices(*FOUR), PREFERS)
    plugin.on_prefer = lambda _: ["npu1"]

    await kubelet.run_pod(
        "pod-a",
        containers=[ContainerSpec("init", {RESOURCE: 1}, init=True), ContainerSpec("main", {RESOURCE: 2})],
    )

    asked = plugin.preferences[1]
    assert set(asked.available_deviceIDs) == set(FOUR)
    assert list(asked.must_include_deviceIDs) == ["npu1"]
    assert asked.allocation_size == 2


@pytest.mark.parametrize(
    ("answer", "certain", "possible"),
    [
        pytest.param([], set(), set(FOUR), id="empty"),
        pytest.param(None, set(), set(FOUR), id="no container"),
        pytest.param(["npu3"], {"npu3"}, set(FOUR), id="short"),
        pytest.param(["npu3", "npu3"], {"npu3"}, set(FOUR), id="duplicate"),
        pytest.param(["bogus", "npu1", "npu2"], {"npu1", "npu2"}, {"npu1", "npu2"}, id="unknown"),
        pytest.param(["npu1", "npu2", "npu3"], set(), {"npu1", "npu2", "npu3"}, id="long"),
    ],
)
async def test_an_odd_preference_is_made_the_best_of(
    start_kubelet: StartKubelet,
    advertise: StartPlugin,
    answer: list[str] | None,
    certain: set[str],
    possible: set[str],
) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, devices(*FOUR), PREFERS)
    plugin.on_prefer = lambda _: answer

    chosen = set((await kubelet.run_pod("pod-a", {RESOURCE: 2})).device_ids)

    assert certain <= chosen <= possible
    assert len(chosen) == 2


async def test_an_error_of_the_preference_fails_the_pod(start_kubelet: StartKubelet, advertise: StartPlugin) -> None:
    kubelet = await start_kubelet()
    plugin = await advertise(kubelet, None, PREFERS)
    plugin.on_prefer = lambda _: Failure(grpc.StatusCode.INTERNAL, "cannot think")

    with pytest.raises(UnexpectedAdmissionError) as caught:
        await kubelet.run_pod("pod-a", {RESOURCE: 1})

    assert caught.value.cause == (
        "device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Internal desc = cannot think"
    )
    assert plugin.allocations == []
    assert kubelet.view().in_use(RESOURCE) == frozenset()
