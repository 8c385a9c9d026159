"""What can go wrong, as the kubelet says it.

StandInError
├── RegistrationError           Register answers the plugin with this text (gRPC code UNKNOWN)
├── DialError                   the plugin's socket did not become ready in time
├── RpcError                    a call to the plugin failed; the text is what a gRPC client in Go prints
├── RefusedError                the device manager's own words when it gives a container no devices
├── CheckpointError             the checkpoint file cannot be believed
├── KubeletPanickedError        the kubelet's process died of what it was asked
└── PodError                    what a pod's status says: `reason` and `message`
    ├── UnexpectedAdmissionError    the pod is Failed, the kubelet does not try again
    ├── TopologyAffinityError       likewise, by the topology manager
    ├── OutOfResourceError          likewise, by the node's status
    └── ContainerStartError         the pod keeps its devices and its container is tried again
        ├── CreateContainerError        the runtime refused, for example a device file that is not there
        └── CreateContainerConfigError  the kubelet could not say how to run it, for example PreStartContainer failed
ConditionUnmetError             an awaited condition did not come true (an AssertionError: a test failed)
"""

from __future__ import annotations

from typing import ClassVar

from testkit.standins.kubelet import gotext


class StandInError(Exception):
    """Base of everything a stand-in kubelet reports."""


class RegistrationError(StandInError):
    """Register is refused; the text reaches the plugin."""


class DialError(StandInError):
    """The plugin did not answer on its socket before the deadline."""


class RpcError(StandInError):
    """A call to the plugin failed."""


class RefusedError(StandInError):
    """The device manager gives the container no devices, for the reason in the text."""


class CheckpointError(StandInError):
    """The checkpoint file is damaged."""


class KubeletPanickedError(StandInError):
    """The kubelet's process died. Whatever was under way is neither done nor refused.

    Attributes:
        resource: The resource it died of.
        device: The device that the plugin's list lacks.
    """

    def __init__(self, resource: str, device: str, function: str = "generateDeviceTopologyHints") -> None:
        self.resource = resource
        self.device = device
        super().__init__(
            "panic: runtime error: invalid memory address or nil pointer dereference: "
            f"devicemanager.(*ManagerImpl).{function}: "
            f"resource {gotext.quote(resource)} has no device {gotext.quote(device)}"
        )


class PodError(StandInError):
    """A pod could not be admitted or started.

    Attributes:
        pod: The pod's name.
        cause: The innermost text, without what the kubelet wraps around it.
        message: What the pod's status would show.
    """

    reason: str
    template: ClassVar[str] = "{}"

    def __init__(self, pod: str, cause: str) -> None:
        self.pod = pod
        self.cause = cause
        self.message = self.template.format(cause)
        super().__init__(self.message)


class UnexpectedAdmissionError(PodError):
    """The device manager could not give the pod its devices."""

    reason = "UnexpectedAdmissionError"
    template = "Allocate failed due to {}, which is unexpected"


class TopologyAffinityError(PodError):
    """The topology manager's policy cannot be met."""

    reason = "TopologyAffinityError"

    def __init__(self, pod: str) -> None:
        super().__init__(pod, "Resources cannot be allocated with Topology locality")


class OutOfResourceError(PodError):
    """The node's status has too few of a resource that the device manager does not know."""

    template = "Node didn't have enough resource: {}"

    def __init__(self, pod: str, resource: str) -> None:
        super().__init__(pod, resource)
        self.reason = f"OutOf{resource}"


class ContainerStartError(PodError):
    """A container could not be started; it is tried again."""


class CreateContainerError(ContainerStartError):
    """The runtime could not create the container."""

    reason = "CreateContainerError"


class CreateContainerConfigError(ContainerStartError):
    """The kubelet could not put the container's configuration together."""

    reason = "CreateContainerConfigError"


class ConditionUnmetError(AssertionError):
    """A condition did not come true in time; the text ends with the journal."""
