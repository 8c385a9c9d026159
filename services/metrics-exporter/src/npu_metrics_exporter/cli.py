"""``npu-metrics-exporter``: parses the command line, then becomes the daemon in the same process."""

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
from npu_metrics_exporter import __version__
from npu_metrics_exporter.settings import OPTIONS, Settings, load

app = typer.Typer(add_completion=False, no_args_is_help=False, rich_markup_mode=None)


class Output(StrEnum):
    """How ``check`` answers."""

    TABLE = "table"
    JSON = "json"
    TEXT = "text"


def _option(name: str, metavar: str, text: str) -> typer.models.OptionInfo:
    # The environment is read by settings.py, which knows a flag from a variable; here it is only told of.
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", metavar=metavar, help=f"{text} [env: {environment_name(name)}]", show_default=False
    )
    return option


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"npu-metrics-exporter {__version__}")
        raise typer.Exit


_Text = str | None


@app.callback(invoke_without_command=True)
def run(  # noqa: PLR0913, PLR0917  # one parameter per option is how typer reads them
    context: typer.Context,
    listen_address: Annotated[
        list[str] | None, _option("listen-address", "ADDRESS", "of scrapes; may be given again; default :6254")
    ] = None,
    interval: Annotated[_Text, _option("interval", "SECONDS", "between two collections; default 10")] = None,
    grace: Annotated[
        _Text, _option("grace", "SECONDS", "for which a card that is gone is told of as not alive; default 300")
    ] = None,
    units: Annotated[_Text, _option("units", "WHICH", "spec, base or both; default both")] = None,
    sensor_labels: Annotated[
        _Text, _option("sensor-labels", "HOW", "sensors as the driver calls them, raw, or lower; default raw")
    ] = None,
    include: Annotated[
        _Text, _option("include", "REGEX,...", "families of metrics to export, and no others; default all")
    ] = None,
    exclude: Annotated[_Text, _option("exclude", "REGEX,...", "families not to export; default none")] = None,
    include_sensors: Annotated[
        _Text, _option("include-sensors", "REGEX,...", "labels of sensors to export, and no others; default all")
    ] = None,
    exclude_sensors: Annotated[
        _Text, _option("exclude-sensors", "REGEX,...", "labels of sensors not to export; default none")
    ] = None,
    static_labels: Annotated[
        _Text, _option("static-labels", "NAME=VALUE,...", "for every series; default none")
    ] = None,
    keep_labels: Annotated[
        _Text, _option("keep-labels", "NAME,...", "labels to keep, and no others; default all")
    ] = None,
    drop_labels: Annotated[_Text, _option("drop-labels", "NAME,...", "labels to leave out; default none")] = None,
    max_series: Annotated[_Text, _option("max-series", "NUMBER", "the most series of cards; default 10000")] = None,
    pod_labels: Annotated[
        _Text, _option("pod-labels", "HOW", "who holds a card: join, inline or off; default join")
    ] = None,
    pod_interval: Annotated[
        _Text, _option("pod-interval", "SECONDS", "between two questions to the kubelet; default 10")
    ] = None,
    pod_ttl: Annotated[_Text, _option("pod-ttl", "SECONDS", "for which its answer stands; default 60")] = None,
    max_in_flight: Annotated[_Text, _option("max-in-flight", "NUMBER", "scrapes answered at once; default 16")] = None,
    web_config_file: Annotated[
        _Text, _option("web-config-file", "FILE", "TLS and passwords, as Prometheus' exporter toolkit has them")
    ] = None,
    pod_resources_socket: Annotated[
        _Text,
        _option("pod-resources-socket", "PATH", "the kubelet's; default /var/lib/kubelet/pod-resources/kubelet.sock"),
    ] = None,
    plugin_dir: Annotated[
        _Text,
        _option("plugin-dir", "DIR", "kubelet device-plugin directory; default /var/lib/kubelet/device-plugins"),
    ] = None,
    pod_logs_dir: Annotated[
        _Text, _option("pod-logs-dir", "DIR", "kubelet log directory of the pods; default /var/log/pods")
    ] = None,
    limits: Annotated[
        _Text, _option("limits", "MEASURE=LEAST..MOST,...", "a reading outside is an error; defaults as documented")
    ] = None,
    config_file: Annotated[
        _Text, _option("config-file", "FILE", "for what is neither an option nor in the environment")
    ] = None,
    sysfs: Annotated[_Text, _option("sysfs", "DIR", "where the host's /sys is; default /sys")] = None,
    devfs: Annotated[_Text, _option("devfs", "DIR", "where the host's /dev is; default /dev")] = None,
    log_level: Annotated[_Text, _option("log-level", "LEVEL", "debug, info, warning or error; default info")] = None,
    log_format: Annotated[_Text, _option("log-format", "FORMAT", "text or json; default text")] = None,
    event_loop: Annotated[_Text, _option("event-loop", "LOOP", "uvloop or asyncio; default uvloop")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Prometheus exporter for FuriosaAI NPUs. NODE_NAME, if set, is the node's name in furiosa_npu_info.

    SIGHUP makes the exporter read its configuration files and the cards at once.
    """
    del version
    values = (
        ",".join(listen_address) if listen_address else None,
        interval,
        grace,
        units,
        sensor_labels,
        include,
        exclude,
        include_sensors,
        exclude_sensors,
        static_labels,
        keep_labels,
        drop_labels,
        max_series,
        pod_labels,
        pod_interval,
        pod_ttl,
        max_in_flight,
        web_config_file,
        pod_resources_socket,
        plugin_dir,
        pod_logs_dir,
        limits,
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
    output: Annotated[
        Output, typer.Option("--output", "-o", help="table, json, or text as a scrape has it")
    ] = Output.TABLE,
) -> None:
    """Look at the host once and print what metrics are made of; serves nothing."""
    from npu_metrics_exporter import check  # noqa: PLC0415  # the daemon-to-be has no use for it

    settings = _settings(context.obj)
    # What the collector would log is in the answer.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        finding = check.examine(settings)
    except HostError as error:
        print(printable(f"cannot read the host: {error}"), file=sys.stderr)
        raise typer.Exit(1) from error
    forms = {Output.TABLE: check.as_text, Output.JSON: check.as_json, Output.TEXT: check.as_exposition}
    text = forms[output](finding)
    print(printable_lines(text) if output is Output.TABLE else text)


def _settings(given: dict[str, str]) -> Settings:
    try:
        return load(given, os.environ)
    except SettingsError as error:
        print(printable_lines(str(error)), file=sys.stderr)
        raise typer.Exit(2) from error


def _become_daemon(given: dict[str, str]) -> None:
    """Replace this program, and the weight of its command line, by one that was given the same in a plain line."""
    arguments = [sys.executable, "-P", "-m", "npu_metrics_exporter", *plain_options.line(given)]
    os.execv(sys.executable, arguments)  # noqa: S606  # no shell is meant


def main() -> None:
    """The ``npu-metrics-exporter`` command."""
    app(prog_name="npu-metrics-exporter")
