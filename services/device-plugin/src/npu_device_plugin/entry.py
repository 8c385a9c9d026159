"""Where the process begins."""

from npu_core.service.lifetime import hold_signals


def main() -> None:
    """The ``k8s-device-plugin`` command."""
    hold_signals()
    from npu_device_plugin.cli import main as command  # noqa: PLC0415  # takes a while, and a signal may come meanwhile

    command()
