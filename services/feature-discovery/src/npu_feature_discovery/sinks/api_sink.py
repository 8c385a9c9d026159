"""Labels published through the API server: as a NodeFeature object, or on the node itself."""

import math
import time
from collections.abc import Callable

from npu_feature_discovery.back_off import chance
from npu_feature_discovery.labels.table import Labels
from npu_feature_discovery.sinks import Outcome
from npu_feature_discovery.sinks.child import Action, ApiAccess, Child, Request, Target

NODE_FEATURE, NODE_LABELS = "node-feature", "node-labels"

TRUSTED_FOR = 600.0
"""Seconds for which what was published is taken to be still there, at most. Then the sink looks: somebody may have
deleted it, as whoever installs NFD anew does with all NodeFeatures. A look is one GET."""


def trusted_for(chance: float) -> float:
    """Seconds until the sink looks: half of :data:`TRUSTED_FOR` and, by ``chance`` from 0 to 1, up to all of it.

    Nodes that started together would otherwise look together, every time.
    """
    return TRUSTED_FOR * (1 + chance) / 2


class ApiSink:
    """Publishes through a short-lived child, and asks nothing of the API server while nothing changes.

    Args:
        access: how the API server is reached.
        target: what is written to.
        clock: monotonic time in seconds.
    """

    def __init__(self, access: ApiAccess, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = target.sink
        self._access = access
        self._target = target
        self._clock = clock
        self._child = Child()
        self._published: Labels | None = None
        self._trusted_until = 0.0

    def publish(self, labels: Labels) -> Outcome:
        """See :meth:`npu_feature_discovery.sinks.Sink.publish`."""
        now = self._clock()
        if self._published == labels and now < self._trusted_until:
            return Outcome.UNCHANGED
        self.forget()
        outcome = self._run(Action.PUBLISH, labels)
        self._published, self._trusted_until = dict(labels), now + trusted_for(chance())
        return outcome

    def remove(self) -> Outcome:
        """See :meth:`npu_feature_discovery.sinks.Sink.remove`."""
        self.forget()
        return self._run(Action.REMOVE, {})

    def known(self) -> Labels:
        """See :meth:`npu_feature_discovery.sinks.Sink.known`. Only the API server could tell."""
        return self._published or {}

    def forget(self) -> None:
        """See :meth:`npu_feature_discovery.sinks.Sink.forget`."""
        self._published = None

    def doubts_in(self) -> float:
        """See :meth:`npu_feature_discovery.sinks.Sink.doubts_in`."""
        return math.inf if self._published is None else self._trusted_until - self._clock()

    def close(self) -> None:
        """See :meth:`npu_feature_discovery.sinks.Sink.close`."""
        self._child.close()

    def _run(self, action: Action, labels: Labels) -> Outcome:
        return self._child.run(Request(action, self._access, self._target, labels))


class NodeFeatureSink(ApiSink):
    """Publishes into the NodeFeature of one node, which nfd-master of NFD v0.12 and later makes node labels of."""

    def __init__(self, api: ApiAccess, node: str, namespace: str) -> None:
        super().__init__(api, Target(NODE_FEATURE, node, namespace))


class NodeLabelsSink(ApiSink):
    """Publishes as labels of one Node, for clusters without NFD."""

    def __init__(self, api: ApiAccess, node: str) -> None:
        super().__init__(api, Target(NODE_LABELS, node))
