"""How a kubelet's sockets are spoken to, whichever of its services is behind them."""

CHANNEL_OPTIONS = (
    # The kubelet's server refuses the percent-encoded path that gRPC would send as the host.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_retries", 0),
    # Else a call shares the connection of an earlier one, and its back-off: a socket that is back would not be found.
    ("grpc.use_local_subchannel_pool", 1),
)
"""For a channel to a socket that the kubelet serves, or calls us on."""
