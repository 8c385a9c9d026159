"""Labels as a NodeFeature object, which nfd-master makes node labels of (NFD v0.12 and later)."""

from npu_feature_discovery.sinks.api_sink import ApiSink
from npu_feature_discovery.sinks.child import ApiAccess, Target

NAME = "node-feature"


class NodeFeatureSink(ApiSink):
    """Publishes into the NodeFeature of one node, in one namespace."""

    def __init__(self, api: ApiAccess, node: str, namespace: str) -> None:
        super().__init__(api, Target(NAME, node, namespace))
