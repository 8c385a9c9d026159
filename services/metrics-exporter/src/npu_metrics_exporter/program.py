"""What the service is as a program."""

from collections.abc import Mapping

from npu_core.service.program import Program
from npu_core.threads import OWN_THREADS, grpc_threads
from npu_metrics_exporter import __version__
from npu_metrics_exporter.settings import OPTIONS


def _daemon(options: Mapping[str, str]) -> int:
    from npu_metrics_exporter.daemon import run  # noqa: PLC0415  # not loaded by the command line

    return run(options)


def _command(program: Program) -> None:
    from npu_metrics_exporter.cli import app  # noqa: PLC0415  # not loaded by the daemon

    app(program)(prog_name=program.name)


PROGRAM = Program(
    "npu-metrics-exporter",
    "npu_metrics_exporter",
    __version__,
    OPTIONS,
    OWN_THREADS + grpc_threads(),
    _daemon,
    _command,
)
