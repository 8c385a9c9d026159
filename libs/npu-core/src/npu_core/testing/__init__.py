"""Simulated NPU hosts, for everybody's tests: a public part of the library.

A simulated host is a real directory tree, so the code under test runs unchanged, whole processes included::

    from npu_core.testing import FakeHost, rngd, warboy

    host = FakeHost(tmp_path, warboy(0), warboy(1), rngd(0))
    host.card(Arch.WARBOY, 0).die()
    subprocess.run(["npuctl", "info", "--sysfs", host.sysfs, "--devfs", host.devfs])

* :func:`warboy` and :func:`rngd` declare cards, with the sensors and attributes of real ones;
* :func:`second_entry` declares a second entry of a card, which some drivers make by mistake;
* :class:`FakeHost` writes them and refuses hosts that no machine could be; it gives cards other numbers;
* :class:`FakeCard` is a card in the tree: heats up, counts errors, dies, hangs, disappears and comes back, with its
  device files at once or one after another;
* :class:`FaultyFS` puts errors between the library and the tree: :data:`EIO`, :data:`EACCES`, :data:`ENODEV`,
  :func:`garbage`, :class:`Blocked`;
* :class:`Simulation` keeps a host moving like a working machine. ``python -m npu_core.testing DIR --live`` runs one.
"""

from npu_core.testing.card import FakeCard
from npu_core.testing.faults import EACCES, EIO, ENODEV, Blocked, Fault, FaultyFS, failing, garbage
from npu_core.testing.host import FakeHost
from npu_core.testing.plan import CardPlan, ImpossibleHostError, SensorPlan, rngd, second_entry, warboy
from npu_core.testing.simulation import Simulation

__all__ = [
    "EACCES",
    "EIO",
    "ENODEV",
    "Blocked",
    "CardPlan",
    "FakeCard",
    "FakeHost",
    "Fault",
    "FaultyFS",
    "ImpossibleHostError",
    "SensorPlan",
    "Simulation",
    "failing",
    "garbage",
    "rngd",
    "second_entry",
    "warboy",
]
