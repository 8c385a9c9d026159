"""``python -m npu_device_plugin``: the same as the ``k8s-device-plugin`` command."""

from npu_device_plugin.entry import main

if __name__ == "__main__":
    main()
