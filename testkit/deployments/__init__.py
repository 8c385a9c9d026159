"""What deployments/ holds, read for tests: manifests, overlays, images, monitoring."""
