"""Cards declared as values, with every device file that they should have."""

from npu_core.arch import Arch, arch_spec
from npu_core.device import ComponentVersion, Device, PciAddress, file_order
from npu_core.parse.devfs import parse_device_file
from npu_core.testing.plan import all_suffixes

_FIRST_BUS = {Arch.WARBOY: 0x10, Arch.RENEGADE: 0x80}


def card(  # noqa: PLR0913  # one parameter per thing a test may care for
    arch: Arch,
    index: int = 0,
    *,
    numa_node: int | None = 0,
    pci: str = "",
    uuid: str | None = None,
    without: tuple[str, ...] = (),
) -> Device:
    """A card with all its device files but those ``without``; each index has a PCI address of its own."""
    spec = arch_spec(arch)
    names = (f"npu{index}{suffix}" for suffix in all_suffixes(spec) if suffix not in without)
    return Device(
        index,
        arch,
        product=str(arch),
        uuid=uuid or f"A76AAD68-6855-40B1-9E86-{_FIRST_BUS[arch] + index:012X}",
        serial=f"{arch}-{index}".upper(),
        pci=PciAddress.parse(pci) if pci else PciAddress(0, _FIRST_BUS[arch] + index, 0, 0),
        numa_node=numa_node,
        driver=ComponentVersion.parse("1.9.2, 3def9c2"),
        files=tuple(sorted((parse_device_file(spec, name) for name in names), key=file_order)),
    )


def warboy_card(
    index: int = 0,
    *,
    numa_node: int | None = 0,
    pci: str = "",
    uuid: str | None = None,
    without: tuple[str, ...] = (),
) -> Device:
    """A Warboy card: two PEs."""
    return card(Arch.WARBOY, index, numa_node=numa_node, pci=pci, uuid=uuid, without=without)


def rngd_card(index: int = 0, *, numa_node: int | None = 0, pci: str = "", without: tuple[str, ...] = ()) -> Device:
    """An RNGD card: eight PEs."""
    return card(Arch.RENEGADE, index, numa_node=numa_node, pci=pci, without=without)
