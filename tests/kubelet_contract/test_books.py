"""Who holds what: PodResources, the checkpoint, and when each of them forgets a pod."""

from testkit.standins.scripted_plugin import device, devices
from tests.kubelet_contract.plugin import Advertise, given
from tests.kubelet_contract.seen import pods_listed, recorded, until_written, written
from tests.kubelet_contract.subject import Kubelet


async def test_podresources_lists_main_and_sidecars_and_no_ordinary_init_container(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1", "u2"))

    await kubelet.run("pod", 1, init=1, sidecar=1)

    sidecar, init, main = given(plugin)
    assert init == main
    assert (await pods_listed(kubelet))["pod"] == {"sidecar": sidecar, "main": main}


async def test_the_checkpoint_names_init_containers_too(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise(devices("u0", "u1"))

    await kubelet.run("pod", 0, init=2)

    assert recorded(kubelet) == {(await kubelet.uid("pod"), "init"): {"-1": ["u0", "u1"]}}
    assert (await pods_listed(kubelet))["pod"] == {"main": set()}


async def test_an_init_container_is_named_and_its_units_booked_after_its_end(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1"))
    await kubelet.run("pod", 0, init=1)
    await kubelet.finish("pod", "init")
    before = written(kubelet)

    await pods_listed(kubelet)
    plugin.send(devices("u0", "u1"))
    await until_written(kubelet, before)

    assert list(recorded(kubelet)) == [(await kubelet.uid("pod"), "init")]
    assert (await kubelet.run("other", 2)).refused


async def test_the_checkpoint_has_units_below_their_numa_node(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise([device("u0", numa=(0,)), device("u1", numa=(1,)), device("u2"), device("u3", numa=(0, 1))])

    await kubelet.run("pod", 4)

    assert recorded(kubelet) == {
        (await kubelet.uid("pod"), "main"): {"0": ["u0", "u3"], "1": ["u1", "u3"], "-1": ["u2"]}
    }


async def test_the_end_of_a_pod_is_not_written_down_and_neither_is_a_list_of_podresources(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    await advertise(devices("u0"))
    await kubelet.run("pod", 1)
    uid, before = await kubelet.uid("pod"), written(kubelet)

    await kubelet.finish("pod", "main")
    assert "pod" not in await pods_listed(kubelet)

    assert written(kubelet) == before
    assert list(recorded(kubelet)) == [(uid, "main")]


async def test_a_list_message_writes_down_what_a_list_of_podresources_has_forgotten(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1)
    await kubelet.finish("pod", "main")
    before = written(kubelet)

    await pods_listed(kubelet)
    plugin.send(devices("u0"))
    await until_written(kubelet, before)

    assert recorded(kubelet) == {}


async def test_a_list_message_alone_forgets_no_pod(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1)
    uid = await kubelet.uid("pod")
    await kubelet.delete("pod")
    before = written(kubelet)

    plugin.send(devices("u0"))
    await until_written(kubelet, before)

    assert list(recorded(kubelet)) == [(uid, "main")]


async def test_the_next_pod_gets_the_units_of_a_pod_that_ended(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise(devices("u0"))
    await kubelet.run("first", 1)
    await kubelet.finish("first", "main")

    assert (await kubelet.run("second", 1)).phase == "Running"

    assert list(recorded(kubelet)) == [(await kubelet.uid("second"), "main")]


async def test_a_unit_that_leaves_the_list_stays_with_its_holder(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await kubelet.run("pod", 1)
    before = written(kubelet)

    plugin.send(devices("u1"))
    await until_written(kubelet, before)

    assert recorded(kubelet) == {(await kubelet.uid("pod"), "main"): {"-1": ["u0"]}}
    assert (await pods_listed(kubelet))["pod"] == {"main": {"u0"}}


async def test_a_pod_without_units_is_listed_with_its_containers(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise(devices("u0"))

    await kubelet.run("pod", 0, sidecar=0)

    assert (await pods_listed(kubelet))["pod"] == {"sidecar": set(), "main": set()}
    assert recorded(kubelet) == {}
