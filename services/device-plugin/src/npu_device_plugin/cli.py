"""``k8s-device-plugin``: parses the command line, then becomes the daemon in the same process."""

import logging
import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from npu_core.errors import HostError, SettingsError
from npu_core.printable import printable, printable_lines
from npu_core.service import plain_options
from npu_core.service.lifetime import release_signals
from npu_core.service.settings import environment_name
from npu_device_plugin import __version__, check
from npu_device_plugin.settings import OPTIONS, Settings, load

app = typer.Typer(add_completion=False, no_args_is_help=False, rich_markup_mode=None)


class Output(StrEnum):
    """How ``check`` answers."""

    TABLE = "table"
    JSON = "json"


def _option(name: str, metavar: str, text: str) -> typer.models.OptionInfo:
    # The environment is read by settings.py, which knows a flag from a variable; here it is only told of.
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", metavar=metavar, help=f"{text} [env: {environment_name(name)}]", show_default=False
    )
    return option


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"k8s-device-plugin {__version__}")
        raise typer.Exit


_Text = str | None


@app.callback(invoke_without_command=True)
def run(  # noqa: PLR0913, PLR0917  # one parameter per option is how typer reads them
    context: typer.Context,
    default_pe: Annotated[
        _Text, _option("default-pe", "TYPE", "PEs per unit: Fusion (all), Single, 2 or 4; default Fusion")
    ] = None,
    interval: Annotated[_Text, _option("interval", "SECONDS", "between two enumerations; default 10")] = None,
    disabled_devices: Annotated[
        _Text, _option("disabled-devices", "NAME,...", "cards, units, UUIDs or PCI addresses not to offer")
    ] = None,
    plugin_dir: Annotated[
        _Text, _option("plugin-dir", "DIR", "the kubelet's; default /var/lib/kubelet/device-plugins")
    ] = None,
    socket_name: Annotated[_Text, _option("socket-name", "NAME", "our socket in there; default furiosa-npu")] = None,
    resource_name: Annotated[
        _Text, _option("resource-name", "NAME", "name in Kubernetes; default beta.furiosa.ai/npu")
    ] = None,
    device_injection: Annotated[_Text, _option("device-injection", "HOW", "files, cdi or both; default files")] = None,
    cdi_dir: Annotated[
        _Text, _option("cdi-dir", "DIR", "where runtimes look CDI names up; default /var/run/cdi")
    ] = None,
    listen_address: Annotated[
        _Text, _option("listen-address", "ADDRESS", "of /healthz, /readyz, /metrics, or off; default 127.0.0.1:6255")
    ] = None,
    pod_resources_socket: Annotated[
        _Text,
        _option("pod-resources-socket", "PATH", "the kubelet's; default /var/lib/kubelet/pod-resources/kubelet.sock"),
    ] = None,
    config_file: Annotated[
        _Text, _option("config-file", "FILE", "take all of the above from a YAML file, and no other option")
    ] = None,
    sysfs: Annotated[_Text, _option("sysfs", "DIR", "where the host's /sys is; default /sys")] = None,
    devfs: Annotated[_Text, _option("devfs", "DIR", "where the host's /dev is; default /dev")] = None,
    log_level: Annotated[_Text, _option("log-level", "LEVEL", "debug, info, warning or error; default info")] = None,
    log_format: Annotated[_Text, _option("log-format", "FORMAT", "text or json; default text")] = None,
    event_loop: Annotated[_Text, _option("event-loop", "LOOP", "asyncio or uvloop; default asyncio")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Kubernetes device plugin for FuriosaAI NPUs.

    NODE_NAME must hold the node's name where disabledDevices names nodes.

    SIGHUP makes the plugin read its configuration file and list the cards at once.
    """
    del version
    values = (
        default_pe,
        interval,
        disabled_devices,
        plugin_dir,
        socket_name,
        resource_name,
        device_injection,
        cdi_dir,
        listen_address,
        pod_resources_socket,
        config_file,
        sysfs,
        devfs,
        log_level,
        log_format,
        event_loop,
    )
    given = {name: value for name, value in zip(OPTIONS, values, strict=True) if value is not None}
    context.obj = given
    if context.invoked_subcommand is not None:
        release_signals()
    else:
        # The daemon says what is wrong with the settings: a pipe that is given as a file can be read only once.
        _become_daemon(given)


@app.command("check")
def check_host(
    context: typer.Context,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json")] = Output.TABLE,
) -> None:
    """Print what this host would offer and what a container of each unit would get; serves nothing."""
    settings = _settings(context.obj)
    # What the scanner would log is in the answer.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        finding = check.examine(settings)
    except HostError as error:
        print(printable(f"cannot read the host: {error}"), file=sys.stderr)
        raise typer.Exit(1) from error
    print(check.as_json(finding) if output is Output.JSON else printable_lines(check.as_text(finding)))


def _settings(given: dict[str, str]) -> Settings:
    try:
        return load(given, os.environ)
    except SettingsError as error:
        print(printable_lines(str(error)), file=sys.stderr)
        raise typer.Exit(2) from error


def _become_daemon(given: dict[str, str]) -> None:
    """Replace this program, and the weight of its command line, by one that was given the same in a plain line."""
    arguments = [sys.executable, "-P", "-m", "npu_device_plugin", *plain_options.line(given)]
    os.execv(sys.executable, arguments)  # noqa: S606  # no shell is meant


def main() -> None:
    """The ``k8s-device-plugin`` command."""
    app(prog_name="k8s-device-plugin")
