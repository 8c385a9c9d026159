"""What the service is as a program."""

from collections.abc import Mapping

from npu_core.service.program import Program
from npu_core.threads import OWN_THREADS
from npu_feature_discovery import __version__
from npu_feature_discovery.settings import OPTIONS


def _daemon(options: Mapping[str, str]) -> int:
    from npu_feature_discovery.daemon import run  # noqa: PLC0415  # not loaded by the command line

    return run(options)


def _command(program: Program) -> None:
    from npu_feature_discovery.cli import app  # noqa: PLC0415  # not loaded by the daemon

    app(program)(prog_name=program.name)


PROGRAM = Program(
    "npu-feature-discovery", "npu_feature_discovery", __version__, OPTIONS, OWN_THREADS, _daemon, _command
)
