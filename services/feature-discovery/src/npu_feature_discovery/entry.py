"""Where the process begins."""

from npu_core.service.lifetime import WITH_HANGUP, hold_signals


def main() -> None:
    """The ``npu-feature-discovery`` command."""
    hold_signals(WITH_HANGUP)
    from npu_feature_discovery.cli import main as command  # noqa: PLC0415  # takes a while, and a signal may come

    command()
