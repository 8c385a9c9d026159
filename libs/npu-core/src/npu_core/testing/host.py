"""A simulated host: a directory tree with the sys, dev and proc of a machine with NPUs."""

import itertools
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from npu_core.arch import Arch
from npu_core.errors import UsageError
from npu_core.host import Host
from npu_core.hostfs import HostFS
from npu_core.testing.card import FakeCard
from npu_core.testing.plan import CardPlan, check_together
from npu_core.testing.tree import TreeWriter

_KERNEL_THREADS = 2
_PF_KTHREAD = 0x00200000


class FakeHost:
    """Writes a host into a directory and changes it while it is read.

    The tree holds what the drivers and the kernel would show: class directories with links into
    ``devices/virtual``, the PCI functions with their hwmon chips, DMI strings, device files. A device file is a link
    to /dev/null, which is a character device to ``stat()`` and needs no privilege::

        host = FakeHost(tmp_path, warboy(0), warboy(3, serial=""), rngd(0))
        host.card(Arch.WARBOY, 3).die()
        assert host.open().inventory().devices[1].serial is None

    Attributes:
        root: the directory.
        sysfs: what to give a program as /sys.
        devfs: what to give a program as /dev.
        procfs: what to give a program as /proc.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *cards: CardPlan,
        vendor: str = "Dell Inc.",
        machine: str = "PowerEdge R750",
        real_nodes: bool = False,
    ) -> None:
        """Write the host.

        Args:
            root: where; made if it is not there.
            cards: the cards that are there from the start.
            vendor: DMI vendor of the machine.
            machine: DMI product name of the machine.
            real_nodes: make device files real character devices, which needs root.

        Raises:
            ImpossibleHostError: if the cards cannot share a machine; nothing is written then.
        """
        check_together(cards)
        self.root = root = Path(root)
        self.sysfs = str(root / "sys")
        self.devfs = str(root / "dev")
        self.procfs = str(root / "proc")
        self._tree = TreeWriter(root)
        self._real_nodes = real_nodes
        self._hwmon_numbers = itertools.count(1)
        self._cards: dict[tuple[Arch, int], FakeCard] = {}
        for directory in ("sys/class", "sys/bus/pci/devices", "dev", "proc"):
            self._tree.make_dir(directory)
        self.set_machine(vendor, machine)
        self.run_process(1, ["init"], ())
        self._run_kernel_threads()
        for plan in cards:
            self._add(plan, with_files=True)

    @property
    def cards(self) -> tuple[FakeCard, ...]:
        """Every card that was ever plugged in, present or not."""
        return tuple(self._cards.values())

    def card(self, arch: Arch, index: int) -> FakeCard:
        """The card with that index.

        Raises:
            UsageError: if there never was one.
        """
        try:
            return self._cards[arch, index]
        except KeyError:
            raise UsageError(f"the simulated host has no {arch} card {index}") from None

    def plug(self, plan: CardPlan, *, with_files: bool = True) -> FakeCard:
        """Add a card to the running host.

        Args:
            plan: the card.
            with_files: whether the card has its device files at once; else see :meth:`FakeCard.make_files`.

        Raises:
            ImpossibleHostError: if it cannot be in one machine with those that are there.
        """
        check_together([*(card.plan for card in self._cards.values()), plan])
        return self._add(plan, with_files=with_files)

    def _add(self, plan: CardPlan, *, with_files: bool) -> FakeCard:
        card = FakeCard(plan, self._tree, lambda: next(self._hwmon_numbers), real_nodes=self._real_nodes)
        self._cards[plan.arch, plan.index] = card
        card.reappear(with_files=with_files)
        return card

    def renumber(self, card: FakeCard, index: int) -> None:
        """Take a card off the bus and bring the card back under another number, as a rescan of the bus does.

        The card keeps its UUID, serial number and PCI address; the device number follows the card's number.

        Raises:
            ImpossibleHostError: if another card has the number; nothing is changed then.
        """
        plan = replace(card.plan, index=index)
        check_together([plan, *(other.plan for other in self._cards.values() if other is not card)])
        if card.present:
            card.disappear()
        del self._cards[card.plan.arch, card.plan.index]
        card.renumber(index)
        self._cards[plan.arch, index] = card
        card.reappear()

    def open(self, fs: HostFS | None = None) -> Host:
        """The library's view of this host, optionally through a faulty file system."""
        return Host(self.sysfs, self.devfs, fs)

    def set_machine(
        self, vendor: str | None, name: str | None, *, board_vendor: str | None = None, board_name: str | None = None
    ) -> None:
        """Let the firmware say this of the machine and its mainboard; None removes the string."""
        items = {
            "sys_vendor": vendor,
            "product_name": name,
            "board_vendor": board_vendor,
            "board_name": board_name,
        }
        for item, text in items.items():
            path = f"sys/devices/virtual/dmi/id/{item}"
            if text is None:
                self._tree.remove(path)
            else:
                self._tree.write(path, text + "\n")
        self._tree.link("sys/class/dmi/id", "sys/devices/virtual/dmi/id")

    def run_process(self, pid: int, command: Iterable[str], holding: Iterable[str]) -> None:
        """Let a process hold device files open.

        Args:
            pid: its id.
            command: its command line.
            holding: absolute paths of device files, ``/dev/npu0pe0``.
        """
        words = list(command)
        self._write_process(pid, "\0".join(words) + "\0", Path(words[0]).name[:15])
        for descriptor, path in enumerate(holding, 3):
            self._tree.raw_link(f"proc/{pid}/fd/{descriptor}", path)

    def _run_kernel_threads(self) -> None:
        """Make kthreadd, the parent of all kernel threads. Only the /proc of a whole host shows kthreadd."""
        self._write_process(_KERNEL_THREADS, "", "kthreadd", flags=_PF_KTHREAD)

    def _write_process(self, pid: int, command: str, name: str, flags: int = 0) -> None:
        self._tree.write(f"proc/{pid}/cmdline", command)
        self._tree.write(f"proc/{pid}/comm", name + "\n")
        self._tree.write(f"proc/{pid}/stat", f"{pid} ({name}) S 0 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 26\n")
        self._tree.make_dir(f"proc/{pid}/fd")

    def hang_process(self, pid: int) -> None:
        """Let a running process hang in a driver: whoever reads its command line waits until the process has ended."""
        self._tree.pipe(f"proc/{pid}/cmdline")

    def show_processes_of(self, pids: Iterable[int]) -> None:
        """Show the processes of one PID namespace only, as the /proc of a container does; 1 is always among them."""
        shown = {"1", *map(str, pids)}
        for directory in tuple((self.root / "proc").iterdir()):
            if directory.name not in shown:
                self._tree.remove(f"proc/{directory.name}")

    def end_process(self, pid: int) -> None:
        """Let a process be gone."""
        self._tree.remove(f"proc/{pid}")
