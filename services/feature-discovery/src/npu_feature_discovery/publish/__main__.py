"""``python -m npu_feature_discovery.publish``: a request on standard input, its answer on standard output."""

import signal
import sys

from npu_feature_discovery.publish import node_feature, node_labels
from npu_feature_discovery.publish.api import Api
from npu_feature_discovery.sinks import Outcome, SinkError
from npu_feature_discovery.sinks.child import START_ALLOWANCE, Request, decode_request, encode_answer
from npu_feature_discovery.sinks.node_feature import NAME as NODE_FEATURE


def main() -> None:
    """Do what is asked, and say what became of it. Anything unforeseen is a traceback and no answer."""
    request = decode_request(sys.stdin.buffer.read())
    # Ends this process also where nobody is left to do it: its limit does not depend on who started it.
    signal.setitimer(signal.ITIMER_REAL, request.access.timeout + START_ALLOWANCE)
    answer: Outcome | SinkError
    try:
        answer = _perform(request)
    except SinkError as error:
        answer = error
    sys.stdout.buffer.write(encode_answer(answer))


def _perform(request: Request) -> Outcome:
    api = Api(request.access)
    if request.target.sink == NODE_FEATURE:
        return node_feature.perform(api, request)
    return node_labels.perform(api, request)


if __name__ == "__main__":
    main()
