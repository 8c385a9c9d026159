"""What kubelets do to a device plugin: scenarios for the stand-in kubelet and for a real one."""
