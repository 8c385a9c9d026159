"""The feature discovery: keeps the labels of a node true to the NPUs it has.

Who does what: :mod:`~npu_feature_discovery.settings` what the operator wants; :mod:`~npu_feature_discovery.host_scan`
reads the host; :mod:`~npu_feature_discovery.labels.known_facts` what to believe of it;
:mod:`~npu_feature_discovery.labels.carry_over` what stays of the process before;
:mod:`~npu_feature_discovery.labels.table` what that makes the labels; :mod:`~npu_feature_discovery.sinks` where they
go; :mod:`~npu_feature_discovery.publisher` going there again; :mod:`~npu_feature_discovery.loop` one after the other;
:mod:`~npu_feature_discovery.app` all of it together.
"""

__version__ = "0.1.0"
