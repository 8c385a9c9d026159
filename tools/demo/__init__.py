"""``make demo``: the services at their main job, on a simulated node.

The services are the real programs, each a process of its own. Simulated are the NPUs, as a directory tree that
npu_core.testing writes and keeps moving, and what stands around: the kubelet and Node Feature Discovery, by the
stand-ins that the tests use.
"""
