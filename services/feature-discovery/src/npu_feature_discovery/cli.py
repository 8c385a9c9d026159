"""``npu-feature-discovery``: parses the command line, then does what is asked or becomes the daemon in its place."""

import logging
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from npu_core.errors import HostError, SettingsError
from npu_core.printable import printable, printable_lines
from npu_core.service import plain_options
from npu_core.service.lifetime import release_signals
from npu_core.service.settings import environment_name
from npu_feature_discovery import __version__
from npu_feature_discovery.settings import FLAGS, OPTIONS, Settings, load

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


def _flag(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", help=f"{text} [env: {environment_name(name)}]", show_default=False
    )
    return option


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"npu-feature-discovery {__version__}")
        raise typer.Exit


_Text = str | None
_FILE = "/etc/kubernetes/node-feature-discovery/features.d/furiosa-npu-feature-discovery"


@app.callback(invoke_without_command=True)
def run(  # noqa: PLR0913, PLR0917  # one parameter per option is how typer reads them
    context: typer.Context,
    sink: Annotated[
        _Text, _option("sink", "SINK", "feature-file, node-feature or node-labels; default feature-file")
    ] = None,
    interval: Annotated[
        _Text, _option("interval", "SECONDS", "between two looks at the cards, or infinite; default 60")
    ] = None,
    oneshot: Annotated[bool, _flag("oneshot", "publish once and end")] = False,
    print_labels: Annotated[bool, _flag("print", "print the labels instead of publishing them, and end")] = False,
    remove: Annotated[bool, _flag("remove", "take away what was published, and end")] = False,
    output_file: Annotated[
        _Text, _option("output-file", "PATH", f"the feature file, or - for standard output; default {_FILE}")
    ] = None,
    mixed: Annotated[
        _Text, _option("mixed", "HOW", "what to say where cards differ: join or omit; default join")
    ] = None,
    extra_labels: Annotated[
        _Text, _option("extra-labels", "GROUP,...", "firmware, product-count, pe-count; default none")
    ] = None,
    expiry: Annotated[
        _Text, _option("expiry", "SECONDS", "after which NFD drops labels that nobody renews, or off; default off")
    ] = None,
    nfd_version: Annotated[
        _Text, _option("nfd-version", "VERSION", "the oldest nfd-worker to write the file for; default v0.11")
    ] = None,
    cleanup_on_exit: Annotated[bool, _flag("cleanup-on-exit", "take the labels away when the service ends")] = False,
    start_jitter: Annotated[
        _Text, _option("start-jitter", "SECONDS", "within which the API server is first asked; default 30")
    ] = None,
    namespace: Annotated[
        _Text, _option("namespace", "NAME", "of the NodeFeature; default the service account's")
    ] = None,
    kubeconfig: Annotated[_Text, _option("kubeconfig", "FILE", "how to reach the API server from outside")] = None,
    service_account_dir: Annotated[
        _Text,
        _option(
            "service-account-dir",
            "DIR",
            "how to reach it from a pod; default /var/run/secrets/kubernetes.io/serviceaccount",
        ),
    ] = None,
    api_timeout: Annotated[
        _Text, _option("api-timeout", "SECONDS", "for one publication through the API server; default 10")
    ] = None,
    listen_address: Annotated[
        _Text, _option("listen-address", "ADDRESS", "of /healthz, /readyz, /metrics, or off; default off")
    ] = None,
    sysfs: Annotated[_Text, _option("sysfs", "DIR", "where the host's /sys is; default /sys")] = None,
    devfs: Annotated[_Text, _option("devfs", "DIR", "where the host's /dev is; default /dev")] = None,
    log_level: Annotated[_Text, _option("log-level", "LEVEL", "debug, info, warning or error; default info")] = None,
    log_format: Annotated[_Text, _option("log-format", "FORMAT", "text or json; default text")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Node labels for FuriosaAI NPUs, through Node Feature Discovery or without it.

    NODE_NAME must hold the node's name for the sinks node-feature and node-labels.

    SIGHUP makes the service look at the cards and publish at once.
    """
    del version
    values = (
        sink,
        interval,
        oneshot,
        print_labels,
        remove,
        output_file,
        mixed,
        extra_labels,
        expiry,
        nfd_version,
        cleanup_on_exit,
        start_jitter,
        namespace,
        kubeconfig,
        service_account_dir,
        api_timeout,
        listen_address,
        sysfs,
        devfs,
        log_level,
        log_format,
    )
    given = {name: _text(value) for name, value in zip(OPTIONS, values, strict=True) if value not in {None, False}}
    context.obj = given
    if context.invoked_subcommand is not None:
        release_signals()
        return
    settings = _settings(given)
    if settings.ends_by_itself:
        from npu_feature_discovery.once import run as run_once  # noqa: PLC0415  # the daemon loads its own

        raise typer.Exit(run_once(settings))
    _become_daemon(given)


@app.command("check")
def check_host(
    context: typer.Context,
    nfd_version: Annotated[
        _Text, typer.Option("--nfd-version", metavar="VERSION", help="of the cluster's NFD", show_default=False)
    ] = None,
    extra_label_ns: Annotated[
        str, typer.Option("--extra-label-ns", metavar="NAME,...", help="what its master was told to take as well")
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json")] = Output.TABLE,
) -> None:
    """Print which labels this host would have, where each comes from, and what NFD would drop; publishes nothing."""
    from npu_feature_discovery import check  # noqa: PLC0415  # whoever publishes has no use for it

    given: dict[str, str] = context.obj
    settings = _settings(given)
    # Not the version that the file is written for: the question is what another one would make of it.
    asked = settings if nfd_version is None else _settings({"nfd-version": nfd_version}, {})
    # What the looker would log is in the answer.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        finding = check.examine(settings, asked.nfd_version, [name for name in extra_label_ns.split(",") if name])
    except HostError as error:
        print(printable(f"cannot read the host: {error}"), file=sys.stderr)
        raise typer.Exit(1) from error
    print(check.as_json(finding) if output is Output.JSON else printable_lines(check.as_text(finding)))


def _text(value: str | bool | None) -> str:
    return "true" if value is True else str(value)


def _settings(given: dict[str, str], environment: Mapping[str, str] = os.environ) -> Settings:
    try:
        return load(given, environment)
    except SettingsError as error:
        print(printable_lines(str(error)), file=sys.stderr)
        raise typer.Exit(2) from error


def _become_daemon(given: dict[str, str]) -> None:
    """Replace this program, and the weight of its command line, by one that was given the same in a plain line."""
    arguments = [sys.executable, "-P", "-m", "npu_feature_discovery", *plain_options.line(given, FLAGS)]
    os.execv(sys.executable, arguments)  # noqa: S606  # no shell is meant


def main() -> None:
    """The ``npu-feature-discovery`` command."""
    app(prog_name="npu-feature-discovery")
