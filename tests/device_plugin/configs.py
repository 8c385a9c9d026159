"""Configuration files, and what is wrong with them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from npu_core.config.reload import ConfigState, ReloadableSettings
from npu_core.errors import MOST_TOLD, Problem, SettingsError
from npu_core.service.options import live_fields
from npu_device_plugin.settings import OPTIONS, Settings, load

# The sample of the specification, to the letter.
SAMPLE = """\
interval: 10
defaultPe: Fusion
disabledDevices:             # warboy-node01 노드의 npu1 장치를 사용하지 않음을 의미
  - devName: npu1
    nodeName: warboy-node01
pluginDir: /var/lib/kubelet/device-plugins
socketName: furiosa-npu
resourceName: beta.furiosa.ai/npu
"""

CONFIGMAP_SAMPLE = """\
defaultPe: Fusion
interval: 15
disabledDevices:
  - devName: npu2
    nodeName: npu-001
"""


def write(directory: Path, content: str | bytes) -> str:
    """A configuration file's path."""
    path = directory / "device-plugin.conf"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def problems(options: Mapping[str, str], environment: Mapping[str, str]) -> tuple[Problem, ...]:
    """What is wrong with wrong settings. Of so many as are told one by one, each has a line."""
    with pytest.raises(SettingsError) as caught:
        load(options, environment)
    assert len(str(caught.value).splitlines()) == min(len(caught.value.problems), MOST_TOLD + 1)
    return caught.value.problems


def following(options: Mapping[str, str], environment: Mapping[str, str] | None = None) -> ReloadableSettings[Settings]:
    """The settings that are given so, following their file."""
    return ReloadableSettings(partial(load, options, environment or {}), live_fields(OPTIONS), ConfigState())
