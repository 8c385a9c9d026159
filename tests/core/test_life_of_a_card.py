"""Whatever happens to a card, in whatever order: one look sees what is, and the card comes back as it was."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from npu_core.device import Device, Inventory
from npu_core.health import Vitals
from npu_core.sensors import Readings
from npu_core.testing import CardPlan, FakeHost, rngd, warboy
from npu_core.testing.layout import hwmon_attributes
from npu_core.testing.plan import all_suffixes

SUFFIXES = {"pe0", "pe1", "pe0-1", "ch0", "ch3"}


class LifeOfACard(RuleBasedStateMachine):
    """A card, what happens to it, and beside it what should be seen of it."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="npu-test-")
        self.present = True
        self.alive: bool | None = True
        self.missing: set[str] = set()

    def teardown(self) -> None:
        self._directory.cleanup()

    @initialize(plan=st.sampled_from([warboy(0), warboy(12, line_ends=False), rngd(3), rngd(0, driver="1.0.0, 0ab")]))
    def power_on(self, plan: CardPlan) -> None:
        self.host = FakeHost(Path(self._directory.name), plan)
        self.card = self.host.cards[0]
        self.inventory: Inventory = self.host.open().inventory()
        self.device: Device = self.inventory.devices[0]
        self.readings: Readings = self.host.open().readings(self.device)

    @rule()
    def die(self) -> None:
        self.card.die()
        self.alive = False

    @rule()
    def revive(self) -> None:
        self.card.revive()
        self.alive = True

    @rule()
    def fall_silent(self) -> None:
        for name in ("alive", "device_state"):
            self.card.remove_attribute(name)
        self.alive = None

    @rule()
    def disappear(self) -> None:
        self.card.disappear()
        self.present = False

    @precondition(lambda self: not self.present)
    @rule()
    def reappear(self) -> None:
        self.card.reappear()
        self.present = True

    @rule(suffix=st.sampled_from(sorted(SUFFIXES)))
    def lose_a_file(self, suffix: str) -> None:
        self.card.remove_file(suffix)
        self.missing.add(suffix)

    @rule(suffix=st.sampled_from(sorted(SUFFIXES)))
    def regain_a_file(self, suffix: str) -> None:
        self.card.restore_file(suffix)
        self.missing.discard(suffix)

    @precondition(lambda self: self.present)
    @rule()
    def be_renumbered(self) -> None:
        self.card.renumber_hwmon()

    @invariant()
    def one_look_sees_what_is(self) -> None:
        gone = self.missing if self.present else set(all_suffixes(self.card.plan.spec))
        names = tuple(file.name for file in self.device.files if file.suffix in gone)
        expected = Vitals(self.present, self.alive if self.present else None, names)
        assert self.host.open().vitals(self.device) == expected

    @invariant()
    def the_card_is_listed_exactly_if_it_is_there(self) -> None:
        found = self.host.open().inventory()
        assert [device.key for device in found.devices] == [self.device.key] * self.present
        assert found.rejected == ()
        assert not self.present or self.missing or found == self.inventory

    @invariant()
    def the_sensors_are_the_same_or_none(self) -> None:
        assert self.host.open().readings(self.device) == (self.readings if self.present else Readings())


LifeOfACard.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestLifeOfACard = LifeOfACard.TestCase


def test_the_readings_that_are_compared_are_not_empty() -> None:
    assert len(hwmon_attributes("npu0", warboy(0).sensors)) > 40
