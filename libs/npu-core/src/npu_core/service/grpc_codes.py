"""The status codes with which a gRPC call can fail. Counters with these codes exist before any call fails.

The module holds the names only, so that a process can use them without loading gRPC. Source: https://grpc.io/docs/guides/status-codes/
"""

GRPC_CODES = (
    "ABORTED",
    "ALREADY_EXISTS",
    "CANCELLED",
    "DATA_LOSS",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
)
"""Every status code except ``OK``."""
