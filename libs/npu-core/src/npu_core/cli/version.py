"""``npuctl version``: the library's version and the drivers on the host."""

from collections.abc import Iterable
from dataclasses import dataclass

from npu_core import __version__
from npu_core.arch import Arch, arch_spec
from npu_core.cli.documents import Json
from npu_core.device import ComponentVersion, Device


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver and the cards it drives.

    Attributes:
        arch: the cards' family.
        version: None where the cards do not say.
        cards: their names.
    """

    arch: Arch
    version: ComponentVersion | None
    cards: tuple[str, ...]


def drivers(devices: Iterable[Device]) -> tuple[Driver, ...]:
    """The drivers of the cards, by family; cards of one family that give different versions are kept apart."""
    cards: dict[tuple[Arch, ComponentVersion | None], tuple[str, ...]] = {}
    for device in devices:
        key = (device.arch, device.driver)
        cards[key] = (*cards.get(key, ()), device.name)
    return tuple(Driver(arch, version, names) for (arch, version), names in cards.items())


def text(found: Iterable[Driver]) -> str:
    """A line for the library and one per driver."""
    lines = [f"npu-core {__version__}"]
    for driver in found:
        version = driver.version or "of unknown version"
        lines.append(f"{arch_spec(driver.arch).vendor_name} driver {version} ({', '.join(driver.cards)})")
    return "\n".join(lines)


def document(found: Iterable[Driver] | None) -> dict[str, Json]:
    """The same for machines; ``drivers`` is null where the host could not be read."""
    return {"npu_core": __version__, "drivers": None if found is None else [_driver_document(each) for each in found]}


def _driver_document(driver: Driver) -> Json:
    version = driver.version
    return {
        "arch": driver.arch.value,
        "name": arch_spec(driver.arch).vendor_name,
        "version": None if version is None else version.number,
        "reference": None if version is None else version.reference,
        "npus": list(driver.cards),
    }
