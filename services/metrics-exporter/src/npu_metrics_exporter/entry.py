"""Where the process begins."""

from npu_core.service.lifetime import hold_signals


def main() -> None:
    """The ``npu-metrics-exporter`` command."""
    hold_signals()
    from npu_metrics_exporter.cli import main as command  # noqa: PLC0415  # takes a while, and a signal may come

    command()
