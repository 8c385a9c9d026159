"""The plugin at one moment, made up."""

from npu_core.allocations import NOTHING_HELD
from npu_core.arch import Arch
from npu_core.health import HEALTHY, HealthReport, HealthStatus
from npu_core.partition import FUSION, SINGLE
from npu_device_plugin.allocation.inventory import Fleet
from npu_device_plugin.allocation.resource_state import offers
from npu_device_plugin.service_status import ServiceStatus
from tests.device_plugin.cards import warboy_card
from tests.device_plugin.holders import holding

RESOURCE = "beta.furiosa.ai/npu"
DEAD = HealthReport(HealthStatus.UNHEALTHY, ("the driver reports the card as dead",))
NOTHING_YET = ServiceStatus(heartbeat_age=0.0, resources=(), fleet=Fleet(), stuck=0)


def condition(*, age: float = 2.0, listening: bool = True, stuck: int = 0) -> ServiceStatus:
    """Three Warboy cards, one of them dead and one that keeps its units for now."""
    fleet = Fleet().with_devices([warboy_card(0), warboy_card(1), warboy_card(2)])
    for index, look in enumerate((HEALTHY, DEAD, HEALTHY)):
        fleet = fleet.with_look((Arch.WARBOY, index), look, 0.0)
    fleet = fleet.with_cuts(SINGLE, NOTHING_HELD).with_cuts(FUSION, holding("npu0pe0"))
    (offer,) = offers(fleet, FUSION, (), NOTHING_HELD)
    return ServiceStatus(heartbeat_age=age, resources=((RESOURCE, offer, listening),), fleet=fleet, stuck=stuck)
