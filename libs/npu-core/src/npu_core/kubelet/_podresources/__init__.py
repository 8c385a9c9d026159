"""Generated code of the kubelet's PodResources API v1; see podresources.proto beside it."""
