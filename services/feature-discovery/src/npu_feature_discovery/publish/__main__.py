"""``python -m npu_feature_discovery.publish``: a request on standard input, its answer on standard output."""

import signal
import sys
from typing import NoReturn

from npu_feature_discovery.publish import node_feature, node_labels
from npu_feature_discovery.publish.api import Api
from npu_feature_discovery.sinks import FailureReason, SinkError
from npu_feature_discovery.sinks.api_sink import NODE_FEATURE
from npu_feature_discovery.sinks.child import START_ALLOWANCE, Done, Request, decode_request, encode_answer

_LATER = 0.3
"""Seconds that a request has to end by its own limit, which says more about it."""


def main() -> None:
    """Do what is asked, and say what became of it. Anything unforeseen is a traceback and no answer."""
    request = decode_request(sys.stdin.buffer.read())
    answer: Done | SinkError
    try:
        _raise_after(request.access.timeout + START_ALLOWANCE)
        api = Api(request.access)
        _raise_after(request.access.timeout + _LATER)
        answer = perform(api, request)
    except SinkError as error:
        answer = error
    sys.stdout.buffer.write(encode_answer(answer))


def perform(api: Api, request: Request) -> Done:
    """Do what is asked through this API server.

    Raises:
        SinkError: if that was not possible.
    """
    if request.target.sink == NODE_FEATURE:
        return node_feature.perform(api, request)
    return Done(node_labels.perform(api, request))


def _raise_after(seconds: float) -> None:
    """Bound all that follows: an answer that trickles in keeps within every limit of a single read."""

    def out_of_time(*_: object) -> NoReturn:
        raise SinkError(FailureReason.TIMEOUT, f"not done within {seconds:g} s")

    signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
