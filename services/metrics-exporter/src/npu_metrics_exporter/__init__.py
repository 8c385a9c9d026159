"""The metrics exporter: tells Prometheus how the NPUs of a node are, and who holds them.

Who does what: :mod:`~npu_metrics_exporter.settings` what the operator wants; :mod:`~npu_metrics_exporter.collector`
looking at the cards; :mod:`~npu_metrics_exporter.metrics.snapshot` what is known of them;
:mod:`~npu_metrics_exporter.pod_watch` who holds them; :mod:`~npu_metrics_exporter.metrics.families` which metrics there
are; :mod:`~npu_metrics_exporter.metrics.series` which series those have; :mod:`~npu_metrics_exporter.metrics.render`
their bytes; :mod:`~npu_metrics_exporter.web.application` answering scrapes;
:mod:`~npu_metrics_exporter.app` all of it together.
"""

__version__ = "0.1.0"
