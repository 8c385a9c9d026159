"""What a container gets: exactly the device files and variables that its units need, always the same."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npu_core.arch import Arch
from npu_core.device import Device
from npu_core.partition import FUSION, SINGLE, Partitioning, Unit, units_of
from npu_device_plugin.allocation.grants import grant
from tests.device_plugin.cards import card, rngd_card, warboy_card
from tests.device_plugin.requests import units

RNGD_CARD_FILES = (
    "mgmt",
    *(f"ch{channel}{kind}" for channel in range(8) for kind in ("", "r")),
    *("dmar", "bar0", "bar2", "bar4"),
)


def unit(device: Device, policy: Partitioning, place: int = 0) -> Unit:
    return units_of(device, policy)[place]


def files(directory: str, prefix: str, *suffixes: str) -> set[str]:
    return {f"{directory}/{prefix}{suffix}" for suffix in suffixes}


# -- device files -----------------------------------------------------------------------------------------------------


def test_a_whole_warboy_card_is_management_channels_cores_and_the_node_of_both() -> None:
    suffixes = ("", "_mgmt", "ch0", "ch1", "ch2", "ch3", "pe0", "pe1", "pe0-1")
    assert set(grant([unit(warboy_card(7), FUSION)]).paths) == files("/dev", "npu7", *suffixes)


def test_one_warboy_core_is_management_channels_and_that_core() -> None:
    suffixes = ("_mgmt", "ch0", "ch1", "ch2", "ch3", "pe1")
    assert set(grant([unit(warboy_card(7), SINGLE, 1)]).paths) == files("/dev", "npu7", *suffixes)


def test_a_whole_rngd_card_is_35_files_below_rngd() -> None:
    cores = ("pe0-1", "pe2-3", "pe4-5", "pe6-7", "pe0-3", "pe4-7", *(f"pe{core}" for core in range(8)))
    paths = grant([unit(rngd_card(2), FUSION)]).paths
    assert set(paths) == files("/dev/rngd", "npu2", *RNGD_CARD_FILES, *cores)
    assert len(paths) == 35


def test_one_rngd_core_is_the_cards_files_and_that_core() -> None:
    assert set(grant([unit(rngd_card(2), SINGLE, 5)]).paths) == files("/dev/rngd", "npu2", *RNGD_CARD_FILES, "pe5")


def test_half_an_rngd_card_is_the_cards_files_and_every_core_range_within() -> None:
    cores = ("pe4", "pe5", "pe6", "pe7", "pe4-5", "pe6-7", "pe4-7")
    paths = grant([unit(rngd_card(2), Partitioning(4), 1)]).paths
    assert set(paths) == files("/dev/rngd", "npu2", *RNGD_CARD_FILES, *cores)


def test_both_cores_of_a_card_one_by_one_do_not_bring_the_fused_file() -> None:
    paths = grant(units_of(warboy_card(0), SINGLE)).paths
    assert set(paths) == files("/dev", "npu0", "_mgmt", "ch0", "ch1", "ch2", "ch3", "pe0", "pe1")


@pytest.mark.parametrize("arch", Arch)
def test_only_files_that_exist_are_given(arch: Arch) -> None:
    without = grant([unit(card(arch, without=("ch1", "ch3")), FUSION)])
    every = grant([unit(card(arch), FUSION)])
    assert len(every.paths) - len(without.paths) == 2
    assert not any(path.endswith(("ch1", "ch3")) for path in without.paths)


# -- environment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_units", "names", "devices", "cards", "pes"),
    [
        ([unit(warboy_card(0), FUSION)], "npu0pe0-1", "npu:0:0-1", "npu0", "pe0-1"),
        ([unit(warboy_card(3), SINGLE, 1)], "npu3pe1", "npu:3:1", "npu3", "pe1"),
        ([*units_of(warboy_card(0), SINGLE)], "npu0pe0,npu0pe1", "npu:0:0,npu:0:1", "npu0", "pe0,pe1"),
        ([unit(rngd_card(0), FUSION)], "npu0pe0-3,npu0pe4-7", "npu:0:0-3,npu:0:4-7", "npu0", "pe0-3,pe4-7"),
        ([unit(rngd_card(1), Partitioning(4), 1)], "npu1pe4-7", "npu:1:4-7", "npu1", "pe4-7"),
        ([unit(rngd_card(1), Partitioning(2), 1)], "npu1pe2-3", "npu:1:2-3", "npu1", "pe2-3"),
        (
            [unit(warboy_card(10), FUSION), unit(warboy_card(9), FUSION)],
            "npu9pe0-1,npu10pe0-1",
            "npu:9:0-1,npu:10:0-1",
            "npu9,npu10",
            "pe0-1,pe0-1",
        ),
        (
            [unit(rngd_card(1), SINGLE, 7), unit(rngd_card(0), SINGLE, 2), unit(rngd_card(1), SINGLE, 0)],
            "npu0pe2,npu1pe0,npu1pe7",
            "npu:0:2,npu:1:0,npu:1:7",
            "npu0,npu1",
            "pe2,pe0,pe7",
        ),
    ],
)
def test_the_variables_name_units_in_the_order_of_card_and_core(
    given_units: list[Unit], names: str, devices: str, cards: str, pes: str
) -> None:
    assert dict(grant(given_units).environment) == {
        "NPU_DEVNAME": names,
        "FURIOSA_DEVICES": devices,
        "NPU_NPUNAME": cards,
        "NPU_PENAME": pes,
    }


# -- whatever the units -----------------------------------------------------------------------------------------------


@given(units(), st.randoms(use_true_random=False))
def test_a_grant_is_the_union_of_its_units_whatever_their_order_or_number(
    resource: tuple[Unit, ...], chance: random.Random
) -> None:
    chosen = chance.sample(resource, chance.randint(1, len(resource)))
    granted = grant(chosen)
    assert granted == grant([*reversed(chosen), *chosen])
    assert list(granted.paths) == sorted({file.path for each in chosen for file in each.files})
    assert sorted(granted.unit_ids) == sorted(each.id for each in chosen)


@given(units(), st.data())
def test_two_containers_never_get_a_file_that_opens_cores_of_both(
    resource: tuple[Unit, ...], data: st.DataObject
) -> None:
    mine = set(data.draw(st.lists(st.sampled_from(resource), unique_by=lambda each: each.id)))
    others = [each for each in resource if each not in mine]
    core_files = [
        {file.path for each in chosen for file in each.files if file.cores is not None} for chosen in (mine, others)
    ]
    assert core_files[0].isdisjoint(core_files[1])
