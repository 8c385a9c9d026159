"""Where the process begins."""

import signal


def main() -> None:
    """The ``npu-metrics-exporter`` command."""
    # The first process of a container loses a signal that is not held back and has no handler yet. So nothing is loaded
    # before this line that takes time. Whoever loads the handlers releases these signals (npu_core.service.lifetime).
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    from npu_metrics_exporter.program import PROGRAM  # noqa: PLC0415  # as said

    PROGRAM.start()
