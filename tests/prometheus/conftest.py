"""When the tests with a real Prometheus run: where its programs are.

They are skipped elsewhere, so that the default suite needs nothing but Python; with `NPU_PROMETHEUS=required`, missing
programs fail.
"""

import os

import pytest

from tests.prometheus.tools import missing

SWITCH = "NPU_PROMETHEUS"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("prometheus") is None or (reason := missing()) is None:
        return
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{SWITCH}=required, but {reason}", pytrace=False)
    pytest.skip(reason)
