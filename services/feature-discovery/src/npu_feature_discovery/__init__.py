"""Node labels for FuriosaAI NPUs, through Node Feature Discovery.

So far it can only look at the host (``npu-feature-discovery check``); it does not yet publish labels.
"""

__version__ = "0.1.0"
