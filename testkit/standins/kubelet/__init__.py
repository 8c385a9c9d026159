"""A stand-in for the kubelet's device manager, over real gRPC unix sockets.

It does what kubelets of three generations do to a device plugin, error texts included, and it breaks in every
way they break. A test runs it in its own event loop:

    async with StandInKubelet(KubeletSettings(plugin_dir, generation=Generation.C)) as kubelet:
        await kubelet.until(lambda view: view.allocatable("beta.furiosa.ai/npu") == 2, within=3.0)
        admitted = await kubelet.run_pod("pod-a", {"beta.furiosa.ai/npu": 1})
        assert admitted.env["NPU_DEVNAME"] == "npu0pe0-1"

By hand: `python -m testkit.standins.kubelet --plugin-dir DIR` prints every event as a line of JSON.

How it is built: `values`, `choice`, `topology`, `device_manager`, `holdings`, `checkpoint`, `pods` and `names`
decide and do no I/O; `plugins` (registrations, streams), `admission`, `starter` and `workers` (pods) act on
what they decide; `plugin_client`, `wire`, `servers`, `podresources` and `directory` touch the outside; `process`
is all that dies with the kubelet's process, `node` all that does not.
"""

from testkit.standins.kubelet.errors import (
    ConditionUnmetError,
    ContainerStartError,
    CreateContainerConfigError,
    CreateContainerError,
    KubeletPanickedError,
    OutOfResourceError,
    PodError,
    StandInError,
    TopologyAffinityError,
    UnexpectedAdmissionError,
)
from testkit.standins.kubelet.journal import Event, EventKind
from testkit.standins.kubelet.node import StandInKubelet
from testkit.standins.kubelet.plugin_client import Cut
from testkit.standins.kubelet.plugins import StreamPlan
from testkit.standins.kubelet.podresources import PodResourcesBehaviour, PodResourcesMode
from testkit.standins.kubelet.pods import (
    Admitted,
    BindMount,
    ContainerGrant,
    ContainerSpec,
    DeviceNode,
    DraDevice,
    Phase,
    PodView,
)
from testkit.standins.kubelet.settings import (
    FakeClock,
    Generation,
    KubeletSettings,
    OldStreamEnd,
    WipeRule,
    Wire,
)
from testkit.standins.kubelet.topology import TopologyPolicy
from testkit.standins.kubelet.values import PluginDevice
from testkit.standins.kubelet.view import NodeView, ResourceView

__all__ = [
    "Admitted",
    "BindMount",
    "ConditionUnmetError",
    "ContainerGrant",
    "ContainerSpec",
    "ContainerStartError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "Cut",
    "DeviceNode",
    "DraDevice",
    "Event",
    "EventKind",
    "FakeClock",
    "Generation",
    "KubeletPanickedError",
    "KubeletSettings",
    "NodeView",
    "OldStreamEnd",
    "OutOfResourceError",
    "Phase",
    "PluginDevice",
    "PodError",
    "PodResourcesBehaviour",
    "PodResourcesMode",
    "PodView",
    "ResourceView",
    "StandInError",
    "StandInKubelet",
    "StreamPlan",
    "TopologyAffinityError",
    "TopologyPolicy",
    "UnexpectedAdmissionError",
    "WipeRule",
    "Wire",
]
