"""Values as plain data."""

import json
from pathlib import Path

import pytest

from npu_core import FUSION, Host, UsageError, units_of
from npu_core.errors import ReadFailedError
from npu_core.health import Vitals
from npu_core.testing import FakeHost, rngd, warboy


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return FakeHost(tmp_path, warboy(0), rngd(0)).open()


def test_every_value_of_a_host_is_taken_by_json(host: Host) -> None:
    for device in host.inventory():
        values = [device, host.vitals(device), host.readings(device), *host.errors(device), *units_of(device, FUSION)]
        for value in values:
            assert json.loads(json.dumps(value.to_dict())) == value.to_dict()


def test_a_value_with_a_text_of_its_own_is_that_text(host: Host) -> None:
    device, _ = host.inventory()
    found = device.to_dict()
    assert (found["pci"], found["arch"], found["index"]) == (str(device.pci), "warboy", 0)


def test_an_error_is_its_message() -> None:
    assert Vitals(present=True, alive=ReadFailedError("EIO", path="/sys/x")).to_dict()["alive"] == "/sys/x: EIO"


def test_an_inventory_is_gone_through_and_counted(host: Host) -> None:
    found = host.inventory()
    assert (list(found), len(found), bool(found)) == (list(found.devices), 2, True)


def test_a_host_is_found_by_the_environment_and_by_paths(tmp_path: Path) -> None:
    fake = FakeHost(str(tmp_path), warboy(0))
    by_environment = Host.from_env({"NPU_SYSFS": fake.sysfs, "NPU_DEVFS": fake.devfs})
    assert by_environment.inventory() == Host(Path(fake.sysfs), Path(fake.devfs)).inventory()
    assert repr(Host.from_env({})) == repr(Host())


def test_a_text_is_refused_where_a_partitioning_is_expected(host: Host) -> None:
    device, _ = host.inventory()
    with pytest.raises(UsageError, match=r"Partitioning\.parse\('Single'\)"):
        units_of(device, "Single")  # type: ignore[arg-type]  # as a user may write it


def test_the_simulator_refuses_a_sensor_that_there_is_not_and_half_a_degree(tmp_path: Path) -> None:
    card = FakeHost(tmp_path, warboy(0)).cards[0]
    with pytest.raises(UsageError, match="nosuch"):
        card.set_temperature(90_000, "nosuch")
    with pytest.raises(UsageError, match=r"80\.5"):
        card.set_temperature(80.5)  # type: ignore[arg-type]  # as above
