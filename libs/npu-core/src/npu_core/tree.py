"""Where things are on a host, and how one attribute is read: the floor that all reading stands on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from npu_core.arch import ArchSpec
from npu_core.cores import CoreRange
from npu_core.device import PciAddress
from npu_core.errors import FormatError, HostError, MissingError
from npu_core.hostfs import HostFS, RealFS
from npu_core.partition import UnitId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostTree:
    """The two directories that everything starts at, and the file system they are in.

    Attributes:
        sysfs: where this process sees the host's /sys.
        devfs: where this process sees the host's /dev.
        fs: the file system.
    """

    sysfs: str
    devfs: str
    fs: HostFS = field(default_factory=RealFS, repr=False)

    def class_dir(self, spec: ArchSpec) -> str:
        """The family's sysfs class."""
        return self._sys("class", spec.sysfs_class)

    def device_dir(self, spec: ArchSpec) -> str:
        """The directory of the family's device files."""
        return "/".join(part for part in (self.devfs.rstrip("/"), spec.device_dir) if part) or "/"

    def pci_dir(self, address: PciAddress) -> str:
        """The PCI function's directory."""
        return self._sys("bus", "pci", "devices", str(address))

    def dmi_file(self, item: str) -> str:
        """One string of the machine's firmware."""
        return self._sys("class", "dmi", "id", item)

    def read_mgmt(self, spec: ArchSpec, index: int, name: str, parse: Callable[[str], T]) -> T:
        """One management attribute of a card, parsed.

        Raises:
            HostError: the leaf that says why not, naming the path.
        """
        return self._read_entry(spec, spec.mgmt_name(index), name, parse)

    def read_counters(self, spec: ArchSpec, index: int, cores: CoreRange, parse: Callable[[str], T]) -> T:
        """The performance counters of one core range, parsed.

        Raises:
            HostError: the leaf that says why not, naming the path.
        """
        return self._read_entry(spec, spec.sysfs_name(str(UnitId(index, cores))), spec.counters_file, parse)

    def _read_entry(self, spec: ArchSpec, entry: str, name: str, parse: Callable[[str], T]) -> T:
        """One attribute of an entry of the family's class.

        The class directory holds links into ``devices/virtual``. Where a link cannot be followed, as in a container
        that was given only one of the two, the target is tried by its own path.
        """
        try:
            return self.read(f"{self.class_dir(spec)}/{entry}/{name}", parse)
        except MissingError:
            return self.read(self._sys("devices", "virtual", spec.sysfs_class, entry, name), parse)

    def read(self, path: str, parse: Callable[[str], T]) -> T:
        """The text at ``path``, parsed.

        Raises:
            HostError: the leaf that says why not, naming the path.
        """
        text = self.fs.read_text(path)
        try:
            return parse(text)
        except FormatError as error:
            raise error.at(path) from error

    def attempt(self, path: str) -> str | HostError:
        """The text at ``path``, or why there is none."""
        try:
            return self.fs.read_text(path)
        except HostError as error:
            return error

    def list_or_nothing(self, path: str) -> tuple[str, ...]:
        """The names in a directory; none if it is not there.

        Raises:
            HostError: if it is there but cannot be listed.
        """
        try:
            return self.fs.list_dir(path)
        except MissingError:
            return ()

    def _sys(self, *parts: str) -> str:
        return "/".join((self.sysfs.rstrip("/"), *parts))
