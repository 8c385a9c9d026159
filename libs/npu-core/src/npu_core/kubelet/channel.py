"""How a kubelet's sockets are spoken to, whichever of its services is behind them."""

import os
import socket

from npu_core.os_errors import explain

CHANNEL_OPTIONS = (
    # The kubelet's server refuses the percent-encoded path that gRPC would send as the host.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_retries", 0),
    # Else a call shares the connection of an earlier one, and its back-off: a socket that is back would not be found.
    ("grpc.use_local_subchannel_pool", 1),
)
"""For a channel to a socket that the kubelet serves, or calls us on."""


def connecting_fails(path: str, setting: str) -> str:
    """Why a client cannot connect to a socket, for an operator; empty if a client can. gRPC's own text is less clear.

    Args:
        path: the path of the socket.
        setting: the option that sets the path.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(path)
    except BlockingIOError:  # its queue is full: somebody is there
        return ""
    except OSError as error:  # of the socket, or because this process may have no descriptor more
        return explain(error, path, setting=setting, wants=os.W_OK)
    return ""
