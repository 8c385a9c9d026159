"""Where the process begins."""

import os
import sys

from npu_core.service.lifetime import WITH_HANGUP, hold_signals


def main() -> None:
    """The ``npu-feature-discovery`` command."""
    hold_signals(WITH_HANGUP)
    _run_what_is_plain(sys.argv[1:])
    from npu_feature_discovery.cli import main as command  # noqa: PLC0415  # takes a while, and a signal may come

    command()


def _run_what_is_plain(arguments: list[str]) -> None:
    """Do, and end, where it was plainly asked for one thing: the library for command lines takes longer than that."""
    from npu_feature_discovery import plain_options  # noqa: PLC0415  # a signal may come

    given = plain_options.parse(arguments)
    if given is None or not plain_options.asks_for_an_end(given, os.environ):
        return
    from npu_core.errors import SettingsError  # noqa: PLC0415  # the daemon-to-be has no use for it
    from npu_feature_discovery.settings import load  # noqa: PLC0415  # as above

    try:
        settings = load(given, os.environ)
    except SettingsError:
        return  # the command line says what is wrong
    if settings.ends_by_itself:
        from npu_feature_discovery.once import run  # noqa: PLC0415  # as above

        sys.exit(run(settings))
