"""The whole exposition of a known host, as files: what a change of a name, a label or a number would break."""

from pathlib import Path

import pytest

from npu_metrics_exporter.metrics.policy import ExportPolicy
from testkit.golden import compare
from tests.metrics_exporter.cards import RNGD, WARBOY, exposition, known_host, look_twice
from tests.metrics_exporter.test_series import Held, pods


@pytest.mark.parametrize(("name", "form"), [("known_host.prom", "text"), ("known_host.openmetrics", "openmetrics")])
def test_what_is_scraped_of_a_known_host_is_as_written_down(tmp_path: Path, name: str, form: str) -> None:
    held = pods(Held("train-0", ("npu0pe0-1",)), cards=(WARBOY, RNGD))
    exposed = exposition(look_twice(known_host(tmp_path)), ExportPolicy(node="node-1"), held)
    compare(Path(__file__).parent / "golden" / name, getattr(exposed, form).decode())
