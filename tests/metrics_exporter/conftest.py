"""What holds for every test of the exporter."""

import pytest

from npu_core.service import file_looks
from npu_metrics_exporter.web import auth
from testkit.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks waits for a look at the files, and for a check of a password, however slow the machine is."""
    monkeypatch.setattr(file_looks, "PATIENCE", PATIENCE)
    monkeypatch.setattr(auth, "PATIENCE", PATIENCE)
