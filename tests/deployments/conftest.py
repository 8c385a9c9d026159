"""When the tests of the images run: where there are images, and what runs them.

They are skipped elsewhere, so that the default suite needs nothing but Python; with `NPU_IMAGES=required`, what is
missing fails.
"""

import os

import pytest

from testkit.deployments.containers import missing

SWITCH = "NPU_IMAGES"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("images") is None or (reason := missing()) is None:
        return
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{SWITCH}=required, but {reason}", pytrace=False)
    pytest.skip(reason)
