"""A real one-node Kubernetes for tests, on a simulated host: see docs/cluster.md."""
