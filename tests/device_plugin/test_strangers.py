"""Other clients than the kubelet on the plugin's socket, in every order: they cost the kubelet nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from npu_core.health import HEALTHY
from npu_core.kubelet.channel import CHANNEL_OPTIONS
from npu_core.partition import FUSION
from npu_device_plugin.allocation.inventory import SETTLE_FILES, Fleet
from npu_device_plugin.allocation.resource_state import offers
from npu_device_plugin.kubelet import supervisor
from npu_device_plugin.kubelet._api import deviceplugin_pb2 as api
from npu_device_plugin.kubelet._api.deviceplugin_pb2_grpc import (
    DevicePluginStub,
    RegistrationServicer,
    RegistrationStub,
    add_RegistrationServicer_to_server,
)
from npu_device_plugin.kubelet.registration import Registration
from npu_device_plugin.kubelet.servicer import OfferServicer
from npu_device_plugin.kubelet.supervisor import Supervisor
from testkit.standins.kubelet import KubeletSettings, StandInKubelet, Wire
from testkit.waiting import PATIENCE, eventually
from tests.device_plugin.cards import warboy_card

RESOURCE = "beta.furiosa.ai/npu"
UNIT = "npu0pe0-1"

Context = grpc.aio.ServicerContext[api.RegisterRequest, api.Empty]


class Stranger:
    """A client that listens, and is no kubelet."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS)
        self._call = DevicePluginStub(self._channel).ListAndWatch(api.Empty())

    async def listens(self) -> "Stranger":
        """Wait for the first list."""
        assert isinstance(await asyncio.wait_for(self._call.read(), PATIENCE), api.ListAndWatchResponse)
        return self

    async def leaves(self) -> None:
        """End the stream."""
        self._call.cancel()
        await self._channel.close()


class Gate(RegistrationServicer):
    """Serves kubelet.sock in front of the kubelet. So a test can act after the plugin's call and before the kubelet.

    Attributes:
        first: called before a registration is passed on.
        passes: whether registrations are passed on. If not, they are answered, and no kubelet hears of them.
        answered: how many registrations were answered.
    """

    def __init__(self, kubelet: Path) -> None:
        self._kubelet = kubelet
        self.passes = True
        self.answered = 0
        self.strangers: list[Stranger] = []
        self.before_passing: Callable[[], None] = lambda: None
        self.opens_before_kubelet = 0
        self.leaves_before_kubelet = False
        self.plugin = kubelet.parent / "furiosa-npu"

    async def Register(self, request: api.RegisterRequest, context: Context) -> api.Empty:  # noqa: N802  # the protocol's
        """Let strangers be quicker than the kubelet."""
        del context
        for _ in range(self.opens_before_kubelet):
            stranger = await Stranger(self.plugin).listens()
            if self.leaves_before_kubelet:
                await stranger.leaves()
            else:
                self.strangers.append(stranger)
        self.opens_before_kubelet = 0
        if self.passes:
            self.before_passing()
            async with grpc.aio.insecure_channel(f"unix:{self._kubelet}", options=CHANNEL_OPTIONS) as channel:
                await RegistrationStub(channel).Register(request)
        self.answered += 1
        return api.Empty()


class Site:
    """A supervised resource with one healthy unit, a kubelet, and strangers."""

    def __init__(self, directory: Path, kubelet: StandInKubelet, gate: Gate) -> None:
        self.kubelet, self.gate = kubelet, gate
        self.socket = directory / "furiosa-npu"
        devices = (warboy_card(0),)
        fleet = Fleet().with_devices(devices).with_devices(devices, now=SETTLE_FILES)
        fleet = fleet.with_look(fleet.cards[0].device.key, HEALTHY, 0.0)
        self.servicer = OfferServicer(RESOURCE, offers(fleet, FUSION)[0])
        self.supervisor = Supervisor(Registration(str(directory), "furiosa-npu", RESOURCE), self.servicer, ".npu-test")

    async def stranger(self) -> Stranger:
        """One that listens."""
        return await Stranger(self.socket).listens()

    async def leaves(self, *strangers: Stranger) -> None:
        """Wait until these have left, and until the plugin has found out whose streams ended."""
        left = len(self.servicer.streams.open) - len(strangers)
        for stranger in strangers:
            await stranger.leaves()
        await eventually(lambda: len(self.servicer.streams.open) <= left, "the end of the streams")
        await self.decided()

    async def decided(self) -> None:
        """Wait until no stream's end is in doubt: what it costs it has cost."""
        servicer = self.servicer
        await eventually(lambda: not servicer.listeners.in_doubt(servicer.streams), "a decision")

    async def offered(self, registrations: int) -> None:
        """Wait until the kubelet has the unit by so many registrations."""
        await self.kubelet.until(
            lambda view: (
                view.healthy(RESOURCE) == {UNIT}
                and view.streams(RESOURCE) == 1
                and view.registrations(RESOURCE) == registrations
            ),
            PATIENCE,
        )

    def stays(self, registrations: int, *, messages: int) -> None:
        """Nothing that happened cost anything."""
        view = self.kubelet.view()
        assert view.healthy(RESOURCE) == {UNIT}
        assert view.registrations(RESOURCE) == registrations
        assert view.messages(RESOURCE) == messages


@pytest.fixture
async def site(socket_dir: Path) -> AsyncIterator[Site]:
    async with StandInKubelet(KubeletSettings(socket_dir, wire=Wire.DIRECT)) as kubelet, _gated(kubelet) as gate:
        site = Site(socket_dir, kubelet, gate)
        task = asyncio.create_task(site.supervisor.run())
        try:
            yield site
            assert not task.done()
        finally:
            for stranger in gate.strangers:
                await stranger.leaves()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _gated(kubelet: StandInKubelet) -> AsyncIterator[Gate]:
    public = kubelet.socket
    public.rename(public.with_name("real.sock"))
    gate, server = Gate(public.with_name("real.sock")), grpc.aio.server()
    add_RegistrationServicer_to_server(gate, server)
    server.add_insecure_port(f"unix:{public}")
    await server.start()
    try:
        yield gate
    finally:
        await server.stop(None)


async def test_strangers_who_come_and_go_cost_the_kubelet_nothing_once_it_is_known(site: Site) -> None:
    await site.offered(1)
    await site.leaves(await site.stranger())
    # One list for the stranger of whom it was not known.
    site.stays(1, messages=2)
    for _ in range(5):
        await site.leaves(await site.stranger())
    site.stays(1, messages=2)


async def test_two_strangers_who_overlap_cost_nothing_either(site: Site) -> None:
    await site.offered(1)
    first, second = await site.stranger(), await site.stranger()
    await site.leaves(first)
    third = await site.stranger()
    await site.leaves(second, third)
    site.stays(1, messages=3)


@pytest.mark.parametrize("strangers", [0, 1, 2])
async def test_the_end_of_the_kubelets_stream_is_noticed_whoever_else_listens(site: Site, strangers: int) -> None:
    await site.offered(1)
    others = [await site.stranger() for _ in range(strangers)]
    await site.kubelet.cut(RESOURCE)
    await site.offered(2)
    for other in others:
        await other.leaves()


async def test_it_is_noticed_after_a_stranger_has_come_and_gone_and_while_another_one_listens(site: Site) -> None:
    await site.offered(1)
    await site.leaves(await site.stranger())
    other = await site.stranger()
    await site.kubelet.cut(RESOURCE)
    await site.offered(2)
    await other.leaves()


async def test_a_stranger_from_before_the_registration_costs_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.offered(1)
    site.gate.passes = False
    await site.kubelet.cut(RESOURCE)
    await eventually(lambda: site.gate.answered == 2, "a registration that no kubelet hears of")
    # The kubelet never came, so that the next registration finds this stream open.
    stranger = await site.stranger()
    site.gate.passes = True
    given_up_at_once(site, monkeypatch)
    await site.offered(2)
    messages = site.kubelet.view().messages(RESOURCE)
    await stranger.leaves()
    await site.decided()
    site.stays(2, messages=messages)


def given_up_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that nobody hears of is given up at once; the next one has all the time it needs."""
    monkeypatch.setattr(supervisor, "FIRST_STREAM_TIMEOUT", 0.0)
    site.gate.before_passing = lambda: monkeypatch.setattr(supervisor, "FIRST_STREAM_TIMEOUT", PATIENCE)


async def test_a_stranger_who_is_quicker_than_the_kubelet_and_stays_hides_nothing(site: Site) -> None:
    await site.offered(1)
    site.gate.opens_before_kubelet = 2
    await site.kubelet.cut(RESOURCE)
    await site.offered(2)
    await site.leaves(site.gate.strangers.pop())
    site.stays(2, messages=3)

    await site.kubelet.cut(RESOURCE)
    await site.offered(3)


async def test_a_stranger_who_is_quicker_than_the_kubelet_and_leaves_at_once_costs_nothing(site: Site) -> None:
    await site.offered(1)
    site.gate.opens_before_kubelet, site.gate.leaves_before_kubelet = 3, True
    await site.kubelet.cut(RESOURCE)
    await site.offered(2)
    await site.decided()
    await site.offered(2)


async def test_a_stranger_does_not_pass_for_a_kubelet_that_never_came(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.offered(1)
    site.gate.passes, site.gate.opens_before_kubelet = False, 1
    await site.kubelet.cut(RESOURCE)
    await eventually(lambda: site.gate.answered == 2, "a registration that no kubelet hears of")
    site.gate.passes = True
    given_up_at_once(site, monkeypatch)
    await site.offered(2)


async def test_a_kubelet_that_ends_and_leaves_its_socket_is_noticed_although_a_stranger_listens(site: Site) -> None:
    await site.offered(1)
    stranger = await site.stranger()
    await site.kubelet.stop()
    await eventually(lambda: not site.supervisor.ready, "the end of the registration")
    await site.kubelet.start()
    await site.kubelet.until(lambda view: view.healthy(RESOURCE) == {UNIT}, PATIENCE)
    await stranger.leaves()


async def test_a_kubelet_that_cannot_write_its_checkpoint_keeps_its_units(site: Site) -> None:
    """Nothing tells then whose stream ended, so that a stranger's end costs a registration; and nothing else does."""
    await site.offered(1)
    path = site.kubelet.checkpoint_path
    path.unlink()
    path.mkdir()
    await (await site.stranger()).leaves()
    await site.kubelet.until(lambda view: view.registrations(RESOURCE) == 2, PATIENCE)
