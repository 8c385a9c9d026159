"""Generated code of the kubelet's device plugin API v1beta1; see deviceplugin.proto beside it."""
