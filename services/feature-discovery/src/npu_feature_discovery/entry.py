"""Where the process begins."""

import sys

from npu_core.service.lifetime import WITH_HANGUP, hold_signals
from npu_core.service.terminal import have_standard_streams, print_on_any_terminal


def main() -> None:
    """The ``npu-feature-discovery`` command."""
    hold_signals(WITH_HANGUP)
    have_standard_streams()
    print_on_any_terminal()
    # What is loaded from here on takes a while, and a signal may come meanwhile.
    from npu_core.service import plain_options  # noqa: PLC0415  # as said
    from npu_core.threads import OWN_THREADS, refusal_at_start  # noqa: PLC0415  # as said
    from npu_feature_discovery.settings import FLAGS, OPTIONS  # noqa: PLC0415  # as said

    if why := refusal_at_start(OWN_THREADS):
        sys.exit(why)
    given = plain_options.parse(sys.argv[1:], OPTIONS, FLAGS)
    if given is None:
        from npu_feature_discovery.cli import main as command  # noqa: PLC0415  # only where a line has to be parsed

        command()
    else:
        from npu_core.service.standard_error import protect  # noqa: PLC0415  # as said

        protect()
        from npu_feature_discovery.daemon import run  # noqa: PLC0415  # as said

        sys.exit(run(given))
