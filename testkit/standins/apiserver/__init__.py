"""A stand-in for the Kubernetes API server: nodes, NodeFeatures, and what can go wrong on the way to them.

A real HTTPS server on the loopback interface with an authority of its own. It knows what the project's programs ask
for, and does it as the API server does: bearer tokens, RBAC verbs, resourceVersions and their conflicts, server-side
apply with ``managedFields``, a 404 for a resource that is not installed that differs from one for an object that is not
there. Everything it was asked is kept, and it can be told to fail.
"""

from testkit.standins.apiserver.certificates import Authority
from testkit.standins.apiserver.faults import Fault
from testkit.standins.apiserver.server import Asked, StandInApiServer

__all__ = ["Asked", "Authority", "Fault", "StandInApiServer"]
