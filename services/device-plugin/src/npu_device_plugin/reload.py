"""The plugin's settings, following their file."""

from collections.abc import Mapping
from functools import partial

from npu_core.config.reload import Following
from npu_device_plugin.settings import LIVE, Settings, load
from npu_device_plugin.telemetry import Telemetry


class Reloader(Following[Settings]):
    """Holds the settings in force.

    Attributes:
        telemetry: where the generation, the digest and the last error are kept.
    """

    def __init__(self, options: Mapping[str, str], environment: Mapping[str, str], telemetry: Telemetry) -> None:
        """The settings as they are given now.

        Raises:
            SettingsError: with everything that is wrong with them.
        """
        super().__init__(partial(load, options, environment), LIVE, telemetry.config)
        self.telemetry = telemetry
