"""The real device plugin, as a process, on a simulated host."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from npu_core.testing import FakeHost
from testkit.services.process import STOPPED, ServiceProcess, environment_of

__all__ = ["STOPPED", "PluginProcess"]


class PluginProcess(ServiceProcess):
    """``k8s-device-plugin``. Used as ``async with PluginProcess(host, plugin_dir) as plugin:``."""

    def __init__(
        self,
        host: FakeHost,
        plugin_dir: Path,
        options: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        run_as: int | None = None,
    ) -> None:
        """A plugin that looks at ``host`` and registers in ``plugin_dir``; an option of ``options`` comes last."""
        arguments = ["--interval", "1", "--plugin-dir", str(plugin_dir), *options]
        super().__init__("npu_device_plugin", arguments, environment_of(host) | dict(environment or {}), run_as)

    @classmethod
    def configured(cls, host: FakeHost, config_file: Path, environment: Mapping[str, str] | None = None) -> Self:
        """A plugin that takes everything from a configuration file."""
        plugin = cls(host, config_file.parent, (), environment)
        plugin._arguments = ["--config-file", str(config_file)]  # its own constructor
        return plugin
