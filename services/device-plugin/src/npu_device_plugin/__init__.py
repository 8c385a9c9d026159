"""The device plugin: tells the kubelet which NPUs a node has, and hands them to containers.

Who does what: :mod:`~npu_device_plugin.settings` what the operator wants;
:mod:`~npu_device_plugin.allocation.inventory` which units there are and how they are;
:mod:`~npu_device_plugin.allocation.preference` which of them to take; :mod:`~npu_device_plugin.allocation.grants` what
a container gets; :mod:`~npu_device_plugin.kubelet.servicer` the kubelet's questions;
:mod:`~npu_device_plugin.kubelet.supervisor` staying registered; :mod:`~npu_device_plugin.scanner` looking at the cards;
:mod:`~npu_device_plugin.app` all of it together.
"""

__version__ = "0.1.0"
