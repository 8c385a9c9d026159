"""Where the process begins."""

import signal
import sys


def main() -> None:
    """The ``npu-feature-discovery`` command."""
    # The first process of a container loses a signal that is not held back and has no handler yet. So nothing is loaded
    # before this line that takes time. Whoever loads the handlers releases these signals (npu_core.service.lifetime).
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    from npu_core.service.terminal import have_standard_streams, print_on_any_terminal  # noqa: PLC0415  # as said

    have_standard_streams()
    print_on_any_terminal()
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
        from npu_core.service.lifetime import leave  # noqa: PLC0415  # as said
        from npu_core.service.standard_error import protect  # noqa: PLC0415  # as said

        protect()
        from npu_feature_discovery.daemon import run  # noqa: PLC0415  # as said

        leave(run(given))
