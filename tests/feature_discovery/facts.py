"""What a look at a host finds, declared as values."""

from npu_core.arch import Arch, arch_spec
from npu_core.device import ComponentVersion, Device, DeviceFile
from npu_core.machine import Machine
from npu_feature_discovery.labels.table import Facts, Labels

MACHINE = Machine("Dell Inc.", "PowerEdge R750")
MACHINE_LABELS = {"machine.vendor": "Dell-Inc", "machine.name": "PowerEdge-R750"}


def warboy(
    index: int = 0,
    product: str | None = "warboy",
    driver: str | None = "1.3.0, 57ac7b0",
    firmware: str | None = "1.6.0, c1bebfd",
) -> Device:
    """A card of the family warboy; None is what it does not say."""
    return _card(index, Arch.WARBOY, product, driver, firmware)


def rngd(
    index: int = 0,
    product: str | None = "rngd",
    driver: str | None = "2026.1.0, 3def9c2",
    firmware: str | None = None,
) -> Device:
    """A card of the family renegade; None is what it does not say."""
    return _card(index, Arch.RENEGADE, product, driver, firmware)


def _card(index: int, arch: Arch, product: str | None, driver: str | None, firmware: str | None) -> Device:
    files = (DeviceFile(f"npu{index}", "pe0", arch_spec(arch).cores.split(1)[0], arch_spec(arch).device_dir),)
    told = {"product": product, "driver": version(driver), "firmware": version(firmware)}
    return Device(index, arch, **told, files=files)  # type: ignore[arg-type]  # each of its own type


def version(text: str | None) -> ComponentVersion | None:
    """A version as a card gives it."""
    return None if text is None else ComponentVersion.parse(text)


def node(*devices: Device, machine: Machine | None = MACHINE) -> Facts:
    """A node with these cards."""
    return Facts(devices, machine)


def short(labels: Labels) -> dict[str, str]:
    """Labels without the prefix that every key of ours begins with."""
    assert all(key.startswith("beta.furiosa.ai/") for key in labels)
    return {key.removeprefix("beta.furiosa.ai/"): value for key, value in labels.items()}
