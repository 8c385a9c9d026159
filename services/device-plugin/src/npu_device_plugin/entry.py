"""Where the process begins."""

import os
import signal
import sys


def main() -> None:
    """The ``k8s-device-plugin`` command."""
    # The first process of a container loses a signal that is not held back and has no handler yet. So nothing is loaded
    # before this line that takes time. Whoever loads the handlers releases these signals (npu_core.service.lifetime).
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    from npu_core.service.terminal import have_standard_streams, print_on_any_terminal  # noqa: PLC0415  # as said

    have_standard_streams()
    print_on_any_terminal()
    from npu_core.service import plain_options  # noqa: PLC0415  # as said
    from npu_core.threads import OWN_THREADS, grpc_threads, refusal_at_start  # noqa: PLC0415  # as said
    from npu_device_plugin.settings import OPTIONS, wants_uvloop  # noqa: PLC0415  # as said

    if why := refusal_at_start(OWN_THREADS + grpc_threads()):
        sys.exit(why)
    given = plain_options.parse(sys.argv[1:], OPTIONS)
    if given is None:
        from npu_device_plugin.cli import main as command  # noqa: PLC0415  # only where a line has to be parsed

        command()
    else:
        from npu_core.service.lifetime import leave  # noqa: PLC0415  # as said
        from npu_core.service.standard_error import protect  # noqa: PLC0415  # as said

        protect()
        if not wants_uvloop(given, os.environ):
            from npu_core.service.openssl import leave_out_openssl  # noqa: PLC0415  # as said

            leave_out_openssl()
        from npu_device_plugin.daemon import run  # noqa: PLC0415  # as said

        leave(run(given))
