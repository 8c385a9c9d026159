"""What a program logged: events and their fields."""

import pytest


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """The lines since the last question, each with its event and its fields."""
    lines = [(record.getMessage(), dict(vars(record).get("npu_fields", {}))) for record in caplog.records]
    caplog.clear()
    return lines
