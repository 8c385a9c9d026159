"""Names of device files."""

import re

from npu_core.arch import ArchSpec
from npu_core.cores import CoreRange
from npu_core.device import DeviceFile
from npu_core.errors import FormatError
from npu_core.partition import MAX_INDEX

_NAME = re.compile(r"npu(0|[1-9][0-9]{0,2})((?:[a-z_][a-z0-9_-]*)?)", re.ASCII)
_EXPECTED = "a device file such as npu0, npu0pe0-1 or npu0_mgmt"


def parse_card_name(name: str) -> tuple[int, str]:
    """Split the name of a device file into the card's index and the rest: ``npu12pe0`` -> ``(12, "pe0")``.

    Raises:
        FormatError: if it is not the name of a card's file, or the index is over 255.
    """
    match = _NAME.fullmatch(name)
    if match is None or int(match[1]) > MAX_INDEX:
        raise FormatError(name, _EXPECTED)
    return int(match[1]), match[2]


def parse_device_file(spec: ArchSpec, name: str) -> DeviceFile:
    """The device file called ``name`` in the directory of ``spec``'s family.

    A suffix that is not known is a file of the whole card: newer drivers may bring more of them.

    Raises:
        FormatError: if it is not the name of a card's file, or names cores the family does not have.
    """
    index, suffix = parse_card_name(name)
    return DeviceFile(f"npu{index}", suffix, _cores(spec, name, suffix), spec.device_dir)


def _cores(spec: ArchSpec, name: str, suffix: str) -> CoreRange | None:
    if not suffix:
        return spec.cores
    if not suffix.startswith("pe"):
        return None
    cores = CoreRange.parse(suffix.removeprefix("pe"))
    if not spec.cores.encloses(cores):
        raise FormatError(name, f"a device file of the {spec.pe_count} PEs of a {spec.arch} card")
    return cores
