"""Devices that the operator keeps from Kubernetes: by what names, on which nodes, and what goes with them."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.allocations import NOTHING_HELD
from npu_core.device import Device
from npu_core.errors import ReadFailedError, Unreadable
from npu_core.health import HEALTHY
from npu_core.host import Host
from npu_core.partition import FUSION, SINGLE, Partitioning, units_of
from npu_core.testing import EIO, FakeHost, Fault, FaultyFS, garbage, warboy
from npu_device_plugin.allocation.disabled import DisabledDevice, is_device_name
from npu_device_plugin.allocation.inventory import Fleet
from npu_device_plugin.allocation.resource_state import offers
from testkit.strategies import devices, partitionings
from tests.device_plugin.cards import rngd_card, warboy_card

UUID = "A76AAD68-6855-40B1-9E86-D080852D1C84"
CARD = warboy_card(1, uuid=UUID, pci="0000:6d:00.0")


def taken_away(name: str, device: Device, policy: Partitioning) -> list[str]:
    """The units of a card that an entry keeps from Kubernetes."""
    entry = DisabledDevice(name)
    return [unit.id for unit in units_of(device, policy) if entry.covers(unit)]


@pytest.mark.parametrize(
    "name",
    ["npu1", UUID, UUID.lower(), UUID.swapcase(), "0000:6d:00.0", "0000:6D:00.0", "00000000:6d:00.0"],
)
def test_a_cards_name_uuid_or_pci_address_takes_all_its_units_away(name: str) -> None:
    assert taken_away(name, CARD, SINGLE) == ["npu1pe0", "npu1pe1"]
    assert taken_away(name, CARD, FUSION) == ["npu1pe0-1"]


@pytest.mark.parametrize(
    "name",
    ["npu10", "npu11", "npu0", "A76AAD68-6855-40B1-9E86-D080852D1C85", "0001:6d:00.0", "0000:6d:00.1", "npu10pe0"],
)
def test_another_cards_name_takes_nothing_away(name: str) -> None:
    assert taken_away(name, CARD, SINGLE) == []


def test_a_card_without_uuid_and_address_has_its_name_only() -> None:
    unknown = replace(CARD, uuid=None, pci=None)
    assert taken_away(UUID, unknown, FUSION) == taken_away("0000:6d:00.0", unknown, FUSION) == []
    assert taken_away("npu1", unknown, FUSION) == ["npu1pe0-1"]


@pytest.mark.parametrize(
    ("name", "policy", "units"),
    [
        ("npu0pe3", "2", ["npu0pe2-3"]),
        ("npu0pe2-3", "4", ["npu0pe0-3"]),
        ("npu0pe4-7", "2", ["npu0pe4-5", "npu0pe6-7"]),
        ("npu0pe3-4", "4", ["npu0pe0-3", "npu0pe4-7"]),
        ("npu0pe7", "Fusion", ["npu0pe0-7"]),
    ],
)
def test_whatever_shares_a_core_with_the_unit_meant_is_taken_away(name: str, policy: str, units: list[str]) -> None:
    assert taken_away(name, rngd_card(), Partitioning.parse(policy)) == units


@given(devices(), st.data())
def test_a_unit_takes_away_exactly_the_units_it_shares_cores_with(device: Device, data: st.DataObject) -> None:
    meant = data.draw(st.sampled_from(units_of(device, data.draw(partitionings(device.spec)))))
    policy = data.draw(partitionings(device.spec))
    sharing = [unit.id for unit in units_of(device, policy) if set(unit.cores) & set(meant.cores)]
    assert taken_away(meant.id, device, policy) == sharing


# -- nodes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "here", "concerned"),
    [
        (None, "warboy-node01", True),
        (None, None, True),
        ("warboy-node01", "warboy-node01", True),
        ("warboy-node01", "warboy-node02", False),
        ("warboy-node01", "WARBOY-NODE01", True),
        ("warboy-node01", None, False),
    ],
)
def test_an_entry_concerns_the_node_it_names_or_all(node: str | None, here: str | None, *, concerned: bool) -> None:
    assert DisabledDevice("npu1", node).concerns(here) is concerned


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["npu0", "npu255", "npu0pe0", "npu12pe4-7", UUID, UUID.lower(), "0000:6d:00.0"])
def test_a_card_a_unit_a_uuid_and_a_pci_address_are_names(name: str) -> None:
    assert is_device_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "npu", "npu01", "npu256", "npu1 ", "NPU1", "npu1pe", "npu1pe1-0", "npu256pe0", "rngd!npu0", "6d:00.0",
     "0000:6d:00.8", UUID[:-1], UUID.replace("-", ""), f"{{{UUID}}}", "npu٣"],
)  # fmt: skip
def test_nothing_else_is_a_name(name: str) -> None:
    assert not is_device_name(name)


# -- names that cannot be read ----------------------------------------------------------------------------------------


PCI = "0000:17:00.0"


def offered(host: Host, name: str) -> dict[str, tuple[str, ...]]:
    """What is offered where an entry has this name, and the objections to it; every card is well, nothing is held."""
    fleet = Fleet().with_devices(host.inventory().devices)
    for card in fleet.cards:
        fleet = fleet.with_look(card.device.key, HEALTHY, 0.0)
    nothing_held = NOTHING_HELD
    (offer,) = offers(fleet, FUSION, (DisabledDevice(name),), nothing_held)
    return {unit.unit.id: unit.objections for unit in offer.units}


@pytest.mark.parametrize(
    ("attribute", "meant", "another"),
    [("device_uuid", UUID, "A76AAD68-6855-40B1-9E86-D080852D1C85"), ("busname", PCI, "0000:99:00.0")],
)
@pytest.mark.parametrize("fault", [EIO, garbage("\x01")])
def test_a_card_that_may_be_the_one_meant_is_not_given_out_until_its_name_can_be_read(
    tmp_path: Path, fault: Fault, attribute: str, meant: str, another: str
) -> None:
    fs = FaultyFS()
    host = FakeHost(tmp_path, warboy(0, uuid=UUID, pci=PCI), warboy(1)).open(fs)
    for name in (meant, another):
        fs.put(f"*/npu0_mgmt/{attribute}", fault)
        doubt = f"it cannot be told whether it is disabled as {name}"
        assert offered(host, name) == {"npu0pe0-1": (doubt,), "npu1pe0-1": ()}
        fs.clear()
    assert offered(host, meant) == {"npu1pe0-1": ()}
    assert offered(host, another) == {"npu0pe0-1": (), "npu1pe0-1": ()}


@pytest.mark.parametrize(
    ("name", "card", "unread", "doubtful"),
    [
        (UUID, replace(CARD, uuid=None), ["device_uuid"], True),
        (UUID, replace(CARD, uuid=None), ["management attributes"], True),
        (UUID, replace(CARD, uuid=None), ["identity"], True),
        (UUID, replace(CARD, uuid=None), ["device_sn", "device_uuid"], True),
        (UUID, replace(CARD, uuid=None), [], False),  # its driver gives none
        (UUID, replace(CARD, uuid=None), ["busname", "device_sn"], False),
        (UUID, replace(CARD, uuid="another"), ["device_uuid"], False),  # it was read before
        (PCI, replace(CARD, pci=None), ["busname"], True),
        (PCI, replace(CARD, pci=None), ["management attributes"], True),
        (PCI, replace(CARD, pci=None), ["identity"], True),
        (PCI, replace(CARD, pci=None), [], False),
        (PCI, replace(CARD, pci=None), ["device_uuid", "device_sn"], False),
        (PCI, CARD, ["busname"], False),
        ("npu0", replace(CARD, uuid=None, pci=None), ["identity"], False),
    ],
)
def test_a_card_is_in_doubt_if_what_an_entry_calls_it_by_is_there_and_was_never_read(
    name: str, card: Device, unread: list[str], *, doubtful: bool
) -> None:
    failures = tuple(Unreadable.of("npu1", subject, ReadFailedError("EIO")) for subject in unread)
    assert DisabledDevice(name).may_mean(replace(card, unreadable=failures)) is doubtful
