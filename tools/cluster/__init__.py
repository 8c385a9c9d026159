"""A real one-node Kubernetes for tests, on a simulated host: see docs/cluster.md.

:mod:`tools.cluster.namespaces` brings a node up, and :mod:`tools.cluster.kind` one in Docker;
:mod:`tools.cluster.node` is what tests do to either; :mod:`tools.cluster.keeper` leaves nothing of a node behind.
"""
