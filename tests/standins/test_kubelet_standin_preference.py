"""The stand-in kubelet towards pods: GetPreferredAllocation."""

from __future__ import annotations

import pytest

from testkit.standins.scripted_plugin import (
    FOUR,
    PREFERS,
    RESOURCE,
    StartKubelet,
    StartPlugin,
    devices,
)


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
