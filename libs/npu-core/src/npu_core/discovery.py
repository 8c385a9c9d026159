"""Which cards a host has: the class directories of sysfs, joined with the device files."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from npu_core.arch import ARCH_SPECS, ArchSpec, arch_spec
from npu_core.device import Device, DeviceFile, FoundCard, PciAddress, Rejected, file_order
from npu_core.errors import FormatError, HostError, MissingError, Reason, Unreadable
from npu_core.parse import devfs, mgmt
from npu_core.parse.text import parse_text
from npu_core.tree import HostTree

T = TypeVar("T")


def find_cards(tree: HostTree) -> tuple[FoundCard, ...]:
    """List the cards without reading any of their attributes; see :meth:`npu_core.host.Host.find`.

    Raises:
        HostError: if a root cannot be read, or a class directory is there but cannot be listed.
    """
    tree.fs.list_dir(tree.sysfs)
    tree.fs.list_dir(tree.devfs)
    return tuple(card for spec in ARCH_SPECS.values() for card in _family(tree, spec))


def identify(tree: HostTree, card: FoundCard) -> Device | Rejected:
    """Read what a card is; see :meth:`npu_core.host.Host.identify`. Never raises."""
    spec = arch_spec(card.arch)
    if not card.managed:
        reason = f"it has device files, but /sys/class/{spec.sysfs_class}/{spec.mgmt_name(card.index)} does not exist"
        return Rejected(card.name, card.arch, reason)
    attributes = {name: _attribute(tree, spec, card.index, name) for name in mgmt.IDENTITY_ATTRIBUTES}
    if objection := mgmt.check_kind(spec, attributes):
        return Rejected(card.name, card.arch, objection)
    return _device(tree, card, attributes)


def managed_indices(tree: HostTree, spec: ArchSpec) -> set[int]:
    """Indices of the cards that have a management directory.

    Raises:
        HostError: if the class directory is there but cannot be listed.
    """
    names = tree.list_or_nothing(tree.class_dir(spec))
    indices = (_managed_index(spec, name) for name in names)
    return {index for index in indices if index is not None}


def _family(tree: HostTree, spec: ArchSpec) -> Iterator[FoundCard]:
    files, unreadable = _device_files(tree, spec)
    managed = managed_indices(tree, spec)
    for index in sorted({*files, *unreadable, *managed}):
        present = tuple(sorted(files.get(index, ()), key=file_order))
        yield FoundCard(spec.arch, index, present, index in managed, tuple(unreadable.get(index, ())))


def _device_files(tree: HostTree, spec: ArchSpec) -> tuple[dict[int, list[DeviceFile]], dict[int, list[Unreadable]]]:
    """The character devices of a family by card index, and the entries that could not be looked at.

    Names that are no card's are left out: /dev holds much else. One bad entry does not cost the others.

    Raises:
        HostError: if the directory is there but cannot be listed.
    """
    directory = tree.device_dir(spec)
    found: dict[int, list[DeviceFile]] = {}
    unreadable: dict[int, list[Unreadable]] = {}
    for name in sorted(tree.list_or_nothing(directory)):
        file = _device_file(spec, name)
        if file is None:
            continue
        index, _ = devfs.parse_card_name(name)
        try:
            if tree.fs.is_char_device(f"{directory}/{name}"):
                found.setdefault(index, []).append(file)
        except HostError as error:
            unreadable.setdefault(index, []).append(Unreadable.of(file.card, file.path, error))
    return found, unreadable


def _managed_index(spec: ArchSpec, name: str) -> int | None:
    if not name.startswith(spec.sysfs_prefix):
        return None
    try:
        index, suffix = devfs.parse_card_name(name.removeprefix(spec.sysfs_prefix))
    except FormatError:
        return None
    return index if suffix == spec.mgmt_suffix else None


def _device_file(spec: ArchSpec, name: str) -> DeviceFile | None:
    try:
        return devfs.parse_device_file(spec, name)
    except FormatError:
        return None


def _device(tree: HostTree, card: FoundCard, attributes: mgmt.Attributes) -> Device:
    fields = _Fields(card.name, attributes)
    pci = fields.parsed("busname", mgmt.parse_busname)
    return Device(
        index=card.index,
        arch=card.arch,
        product=mgmt.product_of(attributes),
        uuid=mgmt.text_of(attributes, "device_uuid"),
        serial=mgmt.text_of(attributes, "device_sn"),
        pci=pci,
        numa_node=fields.kept("numa_node", lambda: None if pci is None else _numa_node(tree, pci)),
        dev=fields.parsed("dev", mgmt.parse_dev),
        firmware=mgmt.version_of(attributes, "fw_version"),
        driver=mgmt.version_of(attributes, "version"),
        soc_rev=mgmt.text_of(attributes, "soc_rev"),
        physical_function=fields.kept("physfn", lambda: None if pci is None else _physical_function(tree, pci)),
        files=card.files,
        unreadable=(*card.unreadable, *fields.unreadable),
    )


def _attribute(tree: HostTree, spec: ArchSpec, index: int, name: str) -> str | HostError:
    try:
        return tree.read_mgmt(spec, index, name, parse_text)
    except HostError as error:
        return error


def _numa_node(tree: HostTree, pci: PciAddress) -> int | None:
    try:
        return tree.read(f"{tree.pci_dir(pci)}/numa_node", mgmt.parse_numa_node)
    except MissingError:
        return None


def _physical_function(tree: HostTree, pci: PciAddress) -> PciAddress | None:
    """The function that a virtual function belongs to. Source: the link ``physfn`` of the kernel's PCI driver."""
    path = f"{tree.pci_dir(pci)}/physfn"
    try:
        target = tree.fs.read_link(path)
    except MissingError:
        return None
    return PciAddress.parse(target.rpartition("/")[2])


def _failures(card: str, attributes: mgmt.Attributes) -> Iterator[Unreadable]:
    """The attributes that should have been readable. No driver has all of them, so one that is missing is no failure.

    If none is there at all, the directory itself cannot be looked into, as behind a link that leads nowhere.
    """
    errors = {name: value for name, value in attributes.items() if isinstance(value, HostError)}
    if len(errors) == len(attributes) and all(error.reason is Reason.MISSING for error in errors.values()):
        yield Unreadable(card, mgmt.EVERY_ATTRIBUTE, Reason.MISSING, "none of them exists")
    for name, error in errors.items():
        if error.reason is not Reason.MISSING:
            yield Unreadable.of(card, name, error)


class _Fields:
    """The fields of one card: each either has a value or leaves a note why not, and the card is kept."""

    def __init__(self, card: str, attributes: mgmt.Attributes) -> None:
        self._card = card
        self._attributes = attributes
        self.unreadable = list(_failures(card, attributes))

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = mgmt.text_of(self._attributes, name)
        return None if text is None else self.kept(name, lambda: parse(text))

    def kept(self, name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except HostError as error:
            self.unreadable.append(Unreadable.of(self._card, name, error))
            return None
