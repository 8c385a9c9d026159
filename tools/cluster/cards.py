"""The simulated host of a node: its cards, which tests let die, vanish and come back."""

import os
import stat
import threading
from pathlib import Path

from npu_core.arch import Arch
from npu_core.testing import FakeCard, FakeHost, Simulation, rngd, warboy

_NUMA_NODES = 2
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "kmsg": (1, 11),
    "tty": (5, 0),
}
_DEVICE_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}


class Card:
    """One card of the host. What happens to it happens between two steps of the simulation."""

    def __init__(self, card: FakeCard, lock: threading.Lock) -> None:
        """Made by the host."""
        self._card = card
        self._lock = lock
        self.name = card.name

    @property
    def present(self) -> bool:
        """Whether it is on the bus."""
        return self._card.present

    def die(self) -> None:
        """The driver says that it is dead; its files stay."""
        with self._lock:
            self._card.die()

    def revive(self) -> None:
        """The driver says that it is alive."""
        with self._lock:
            self._card.revive()

    def hang(self) -> None:
        """The driver hangs: who asks it whether the card is alive gets no answer, until :meth:`revive`."""
        with self._lock:
            self._card.hang(self._card.plan.spec.alive_rule)

    def disappear(self) -> None:
        """It falls off the bus: device files and class entries go."""
        with self._lock:
            self._card.disappear()

    def reappear(self) -> None:
        """It is on the bus again."""
        with self._lock:
            self._card.reappear()

    def restore(self) -> None:
        """It is there and alive, whatever was before."""
        with self._lock:
            if not self._card.present:
                self._card.reappear()
            self._card.revive()


class Cards:
    """All of them, and a thread that keeps their values moving."""

    def __init__(self, root: Path, warboys: int, rngds: int) -> None:
        """Write the host into a directory."""
        count = max(warboys, rngds)
        plans = [
            *(warboy(index, numa_node=index * _NUMA_NODES // count) for index in range(warboys)),
            *(rngd(index, numa_node=index * _NUMA_NODES // count) for index in range(rngds)),
        ]
        self._host = FakeHost(root, *plans, real_nodes=True)
        write_processors(root / "sys/devices/system")
        write_devices(root / "dev")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def card(self, index: int, arch: Arch = Arch.WARBOY) -> Card:
        """The card with that number."""
        return Card(self._host.card(arch, index), self._lock)

    def all(self) -> list[Card]:
        """Every card."""
        return [Card(card, self._lock) for card in self._host.cards]

    def start(self) -> None:
        """Let their values move."""
        self._thread.start()

    def end(self) -> None:
        """Let them stand still."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        simulation = Simulation(self._host)
        while not self._ended.wait(1.0):
            with self._lock:
                simulation.step(1.0)


def write_processors(system: Path) -> None:
    """Write this machine's processors and memory as if they were on two NUMA nodes."""
    count = os.cpu_count() or 1
    every = f"0-{count - 1}" if count > 1 else "0"
    of_node = {node: [cpu for cpu in range(count) if cpu * _NUMA_NODES // count == node] for node in range(_NUMA_NODES)}
    for name in ("online", "possible", "present"):
        _write(system / "cpu" / name, every)
    for node, cpus in of_node.items():
        place = system / f"node/node{node}"
        (place / "hugepages").mkdir(parents=True)
        _write(place / "meminfo", f"Node {node} MemTotal: 12000000 kB\nNode {node} MemFree: 11000000 kB")
        _write(place / "distance", "10 21" if node == 0 else "21 10")
        _write(place / "cpulist", ",".join(map(str, cpus)))
        for cpu in cpus:
            core = system / f"cpu/cpu{cpu}"
            (core / "cache").mkdir(parents=True)
            _write(core / "topology/core_id", str(cpu))
            _write(core / "topology/physical_package_id", str(node))
            _write(core / "online", "1")
            (place / f"cpu{cpu}").symlink_to(f"../../cpu/cpu{cpu}")
    for name in ("online", "possible"):
        _write(system / "node" / name, f"0-{_NUMA_NODES - 1}")


def write_devices(dev: Path) -> None:
    """Make the device files that every host has, whatever its cards."""
    for name, numbers in _DEVICES.items():
        os.mknod(dev / name, 0o666 | stat.S_IFCHR, os.makedev(*numbers))
        (dev / name).chmod(0o666)
    for name in ("pts", "shm", "mqueue"):
        (dev / name).mkdir()
    for name, target in _DEVICE_LINKS.items():
        (dev / name).symlink_to(target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="ascii")
