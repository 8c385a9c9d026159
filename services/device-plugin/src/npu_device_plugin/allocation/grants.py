"""What a container gets for the units it was given. Deterministic: the kubelet replays it for the pod's life."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter

from npu_core.cores import CoreRange
from npu_core.partition import Unit, UnitId

DEVICE_NAMES = "NPU_DEVNAME"
"""Environment variable: device files to open, ``npu0pe0-1``. Read by every runtime of the vendor."""

DEVICES = "FURIOSA_DEVICES"
"""Environment variable: the same in the newer runtimes' grammar, ``npu:0:0-1``."""

CARD_NAMES = "NPU_NPUNAME"
"""Environment variable: the cards, ``npu0``."""

PE_NAMES = "NPU_PENAME"
"""Environment variable: the core ranges, ``pe0-1``, in the order of NPU_DEVNAME."""

PERMISSIONS = "rw"
"""For every device file; making new ones (``m``) is nothing a workload needs."""


class DeviceInjection(StrEnum):
    """How a container gets its devices: what an answer to Allocate holds."""

    FILES = "files"
    """Device files, one by one: every runtime knows them."""

    CDI = "cdi"
    """Names that the runtime looks up. One that does not know CDI drops them in silence."""

    BOTH = "both"
    """Names and files."""

    @property
    def files(self) -> bool:
        """Whether device files are named."""
        return self is not DeviceInjection.CDI

    @property
    def cdi(self) -> bool:
        """Whether CDI names are given."""
        return self is not DeviceInjection.FILES


@dataclass(frozen=True, slots=True)
class Grant:
    """What one container gets.

    Attributes:
        unit_ids: the units, by card and core.
        paths: device files, sorted; the same inside as outside.
        environment: variables by name.
    """

    unit_ids: tuple[str, ...]
    paths: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


def grant(units: Iterable[Unit]) -> Grant:
    """What a container with these units gets: the union of their device files, and their names in index order."""
    # By what tells two units of a resource apart: to compare all that a card is takes longer than the rest together.
    by_place = {(unit.device.index, unit.cores.first, unit.cores.last): unit for unit in units}
    chosen = [unit for _, unit in sorted(by_place.items(), key=itemgetter(0))]
    parts = [(unit.device.index, cores) for unit in chosen for cores in unit.pe_files]
    return Grant(
        unit_ids=tuple(unit.id for unit in chosen),
        paths=tuple(sorted({file.path for unit in chosen for file in unit.files})),
        environment=tuple(_environment(parts).items()),
    )


def _environment(parts: list[tuple[int, CoreRange]]) -> dict[str, str]:
    return {
        DEVICES: ",".join(f"npu:{index}:{cores}" for index, cores in parts),
        DEVICE_NAMES: ",".join(str(UnitId(index, cores)) for index, cores in parts),
        CARD_NAMES: ",".join(dict.fromkeys(f"npu{index}" for index, _ in parts)),
        PE_NAMES: ",".join(f"pe{cores}" for _, cores in parts),
    }
