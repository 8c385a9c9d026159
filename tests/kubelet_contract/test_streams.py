"""What the kubelet makes of list messages, and of the end of a stream."""

from testkit.standins.scripted_plugin import ScriptedPlugin, device, devices
from tests.kubelet_contract.plugin import Advertise
from tests.kubelet_contract.seen import registered, until_written, written
from tests.kubelet_contract.subject import Kubelet, until, until_units


async def test_an_unhealthy_unit_leaves_what_is_allocatable_and_stays_in_the_capacity(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1", "u2"))
    await until_units(kubelet, 3, 3)

    plugin.send([device("u0"), device("u1", "Unhealthy"), device("u2")])

    await until_units(kubelet, 2, 3)


async def test_a_unit_that_is_not_in_the_list_leaves_the_capacity(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1", "u2"))
    await until_units(kubelet, 3, 3)

    plugin.send(devices("u0"))

    await until_units(kubelet, 1, 1)


async def test_an_empty_list_is_a_resource_without_units(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await until_units(kubelet, 1, 1)

    plugin.send([])

    await until_units(kubelet, 0, 0)
    assert (await kubelet.units()).named


async def test_any_word_but_healthy_is_unhealthy(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise([device("u0"), device("u1", "healthy"), device("u2", ""), device("u3", "Broken")])

    await until_units(kubelet, 1, 4)


async def test_an_id_that_is_listed_twice_with_two_healths_counts_twice(kubelet: Kubelet, advertise: Advertise) -> None:
    await advertise([device("u0"), device("u0", "Unhealthy")])

    await until_units(kubelet, 1, 2)


async def test_every_list_writes_the_checkpoint_changed_or_not(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"))
    before = written(kubelet)

    plugin.send(devices("u0", "u1"))

    await until_written(kubelet, before)


async def test_the_checkpoint_has_healthy_units_alone_as_registered(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"))
    assert registered(kubelet) == {"u0", "u1"}

    plugin.send([device("u0"), device("u1", "Unhealthy")])

    async def without() -> bool:
        return registered(kubelet) == {"u0"}

    await until(without, "u1 is not registered")


async def test_when_a_stream_ends_no_unit_is_allocatable_and_the_capacity_stays(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0", "u1"))
    await until_units(kubelet, 2, 2)

    plugin.end(plugin.streams[0])

    await until_units(kubelet, 0, 2)
    assert (await kubelet.run("pod", 1)).message == (
        "Pod was rejected: Allocate failed due to no healthy devices present; "
        f"cannot allocate unhealthy devices {kubelet.resource}, which is unexpected"
    )


async def test_units_are_back_when_the_plugin_is(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0", "u1"))
    await plugin.stop()
    await until_units(kubelet, 0, 2)

    await plugin.start()
    await plugin.register()

    await until_units(kubelet, 2, 2)


async def test_the_end_of_a_stream_is_not_written_down(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))

    await plugin.stop()
    await until_units(kubelet, 0, 1)

    assert registered(kubelet) == {"u0"}


async def test_what_is_written_after_a_stream_ended_has_no_healthy_unit_of_its_resource(
    kubelet: Kubelet, advertise: Advertise
) -> None:
    plugin = await advertise(devices("u0"))
    other = ScriptedPlugin(kubelet.plugin_dir, f"{kubelet.resource}-b", f"b-{plugin.socket}")
    other.listed = devices("u0")
    await other.start()
    await other.register()
    await other.opened(1)
    assert registered(kubelet) == {"u0"}
    plugin.end(plugin.streams[0])
    await until_units(kubelet, 0, 1)

    other.send(devices("u0", "u1"))

    async def without() -> bool:
        return not registered(kubelet)

    await until(without, "the unit is still registered")
    await other.stop()


async def test_a_message_above_four_mebibytes_ends_the_stream(kubelet: Kubelet, advertise: Advertise) -> None:
    plugin = await advertise(devices("u0"))
    await until_units(kubelet, 1, 1)

    plugin.send([device(f"u{number:04}" + "x" * 1000) for number in range(4200)])

    await until_units(kubelet, 0, 1)
    assert plugin.open_streams == []
