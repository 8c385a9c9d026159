"""Prometheus exporter for FuriosaAI NPUs.

So far it can only look at the host (``npu-metrics-exporter check``); it does not yet publish metrics.
"""

__version__ = "0.1.0"
