"""Labels put on the node itself, for clusters without NFD."""

from npu_feature_discovery.sinks.api_sink import ApiSink
from npu_feature_discovery.sinks.child import ApiAccess, Target

NAME = "node-labels"


class NodeLabelsSink(ApiSink):
    """Publishes as labels of one Node."""

    def __init__(self, api: ApiAccess, node: str) -> None:
        super().__init__(api, Target(NAME, node))
