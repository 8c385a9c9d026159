"""The kubelet's side: registration, the device plugin service, and who holds what."""
