"""The whole exposition of a known host, as files: what a change of a name, a label or a number would break.

A change that is meant is written down with ``GOLDEN=write pytest tests/metrics_exporter/test_golden.py``, and is read
in the difference.
"""

import os
from pathlib import Path

import pytest

from npu_metrics_exporter.policy import ExportPolicy
from npu_metrics_exporter.render import Exposition
from tests.metrics_exporter.cards import RNGD, WARBOY, exposition, known_host, look_twice
from tests.metrics_exporter.test_series import Held, pods

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def exposed(tmp_path: Path) -> Exposition:
    held = pods(Held("train-0", ("npu0pe0-1",)), cards=(WARBOY, RNGD))
    return exposition(look_twice(known_host(tmp_path)), ExportPolicy(node="node-1"), held)


def same_as_written_down(name: str, found: bytes) -> bool:
    if os.environ.get("GOLDEN") == "write":
        (GOLDEN / name).write_bytes(found)
    return (GOLDEN / name).read_bytes() == found


def test_the_text_of_a_known_host_is_as_written_down(exposed: Exposition) -> None:
    assert same_as_written_down("known_host.prom", exposed.text)


def test_the_openmetrics_of_a_known_host_are_as_written_down(exposed: Exposition) -> None:
    assert same_as_written_down("known_host.openmetrics", exposed.openmetrics)
