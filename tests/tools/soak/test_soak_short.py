"""One real soak of some seconds, so that the program cannot rot. It is too short to judge growth by."""

import json
from pathlib import Path

from npu_core.testing import warboy
from tools.soak.report import document, table
from tools.soak.rounds import Plan, soak
from tools.soak.site import SERVICES


async def test_a_short_soak_sees_everything_and_breaks_nothing(tmp_path: Path) -> None:
    outcome = await soak(Plan(12.0, seed=1, cards=(warboy(0), warboy(1))))
    assert outcome.broken == ()
    assert [tally.problem for tally in outcome.tallies if tally.problem] == []
    assert outcome.rounds
    assert outcome.ends.keys() == set(SERVICES)
    assert {service: len(samples) > 12 for service, samples in outcome.samples.items()} == dict.fromkeys(SERVICES, True)
    counts = outcome.counts[-1][1]
    assert counts["kubelet: list message"] >= 1
    assert counts["scrapes, kept connection, gzip"] >= 5
    assert "sound" in table(outcome).lower()
    place = tmp_path / "soak.json"
    place.write_text(json.dumps(document(outcome, (0.0, 0.0, 0.0))))
    assert json.loads(place.read_text())["samples"].keys() == set(SERVICES)
