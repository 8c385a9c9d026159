"""The ``npu-metrics-exporter`` command. So far it can only look at the host."""

import sys
from typing import Annotated

import typer

from npu_core.errors import HostError
from npu_core.host import Host
from npu_metrics_exporter import __version__
from npu_metrics_exporter.check import describe

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"npu-metrics-exporter {__version__}")
        raise typer.Exit


@app.callback()
def run(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Prometheus exporter for FuriosaAI NPUs."""
    del version


@app.command("check")
def check_host(
    sysfs: Annotated[str, typer.Option(envvar="NPU_SYSFS", help="Where the host's /sys is.")] = "/sys",
    devfs: Annotated[str, typer.Option(envvar="NPU_DEVFS", help="Where the host's /dev is.")] = "/dev",
) -> None:
    """Look at the host once and print the values that metrics are made of."""
    try:
        print(describe(Host(sysfs, devfs)))
    except HostError as error:
        print(f"cannot read the host: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """The ``npu-metrics-exporter`` command."""
    app(prog_name="npu-metrics-exporter")
