"""Snapshots for tests: of simulated hosts, and of hand-made values."""

import re
from dataclasses import replace
from pathlib import Path

from npu_core.arch import Arch
from npu_core.cores import CoreRange
from npu_core.device import CardKey, Device, FoundCard, Rejected
from npu_core.health import Vitals
from npu_core.host import Host
from npu_core.sensors import Quantity, Reading, Readings, Sensor
from npu_core.testing import FakeHost, rngd, warboy
from npu_metrics_exporter.card_look import CounterLook, look_at_card, look_at_counters
from npu_metrics_exporter.metrics.podmap import PodMap
from npu_metrics_exporter.metrics.policy import ExportPolicy
from npu_metrics_exporter.metrics.render import Exposition, render
from npu_metrics_exporter.metrics.series import Budget, families
from npu_metrics_exporter.metrics.snapshot import CardReport, Snapshot

LIVING = Vitals(present=True, alive=True)
DEAD = Vitals(present=True, alive=False)
SILENT = Vitals(present=True, alive=None)
WALL = 1_750_000_000.0
WARBOY: CardKey = (Arch.WARBOY, 0)
RNGD: CardKey = (Arch.RENEGADE, 0)


def known_host(root: Path) -> FakeHost:
    """Two Warboys and an RNGD, of which the first Warboy and two PEs of the RNGD have worked."""
    return FakeHost(root, warboy(0), warboy(1), rngd(0))


def work(host: FakeHost) -> None:
    """Let a while pass."""
    host.card(Arch.WARBOY, 0).set_perf_regs(CoreRange(0, 1), 3_000_000_000, 1_500_000_000, 750_000_000)
    host.card(Arch.WARBOY, 0).set_error("device_error", 2)
    host.card(Arch.WARBOY, 0).set_uptime(14_649)
    for core in (0, 1):
        host.card(Arch.RENEGADE, 0).set_perf_regs(CoreRange(core, core), 9 << 32, 1 << 32)


def look(host: Host, snapshot: Snapshot, before: dict[CardKey, CounterLook], now: float = 0.0) -> Snapshot:
    """Every card looked at once."""
    found = host.find()
    snapshot = snapshot.with_listing(found, now)
    for card in found:
        state = snapshot.card(card.key)
        known = state.device if state else None
        answer = look_at_card(host, card, known, before.get(card.key, CounterLook()), lambda: now)
        if isinstance(answer, Rejected):
            snapshot = snapshot.with_rejection(card.key)
        else:
            snapshot = snapshot.with_report(answer[0], WALL + now)
    return snapshot


def look_twice(host: FakeHost) -> Snapshot:
    """The cards of :func:`known_host`, with work done between two looks at their counters."""
    opened = host.open()
    before = {device.key: look_at_counters(opened, device) for device in opened.inventory().devices}
    work(host)
    return look(opened, Snapshot(), before)


def exposition(snapshot: Snapshot, policy: ExportPolicy | None = None, pods: PodMap | None = None) -> Exposition:
    """What would be served."""
    chosen = policy or ExportPolicy()
    return render(families(snapshot, pods or PodMap(), chosen, Budget(chosen.max_series)))


def text(snapshot: Snapshot, policy: ExportPolicy | None = None, pods: PodMap | None = None) -> str:
    """The same, in the text format; whole numbers without a fraction."""
    made = exposition(snapshot, policy, pods).text.decode()
    return re.sub(r"^([^#].* )(\S+)$", lambda line: line[1] + number(line[2]), made, flags=re.MULTILINE)


def number(text: str) -> str:
    """A number of an exposition, a whole one without a fraction and without an exponent."""
    value = float(text)
    return str(int(value)) if value.is_integer() else text


def lines(snapshot: Snapshot, name: str, policy: ExportPolicy | None = None, pods: PodMap | None = None) -> list[str]:
    """The series of one name, with their labels and values."""
    whole = text(snapshot, policy, pods).splitlines()
    return [line.removeprefix(name) for line in whole if line.startswith((name + "{", name + " "))]


def device(arch: Arch = Arch.WARBOY, index: int = 0) -> Device:
    """A card that says nothing of what it is."""
    return Device(index, arch)


def found(arch: Arch = Arch.WARBOY, index: int = 0, *, managed: bool = True) -> FoundCard:
    """A card in a listing."""
    return FoundCard(arch, index, (), managed)


def temperature(label: str, channel: int = 1, value: int = 45_000, chip: str = "npu0") -> Reading:
    """What one sensor reads."""
    return Reading(Sensor("npu0", Quantity.TEMPERATURE, channel, label, chip), value)


def report(*values: Reading, taken: float = 0.0, silent: tuple[Sensor, ...] = ()) -> CardReport:
    """A living Warboy with these readings."""
    return CardReport(device(), taken, LIVING, readings=Readings(values, silent=silent))


def snapshot(*reports: CardReport) -> Snapshot:
    """Cards that were listed and looked at."""
    whole = Snapshot().with_listing([found(each.device.arch, each.device.index) for each in reports], 0.0)
    for each in reports:
        whole = whole.with_report(each, WALL)
    return whole


def of_card(arch: Arch, index: int, **fields: object) -> CardReport:
    """A report of another card."""
    return replace(report(), device=device(arch, index), **fields)  # type: ignore[arg-type]
