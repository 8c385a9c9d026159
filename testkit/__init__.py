"""What tests and tools stand on: stand-ins, the services as processes, readers of documents and manifests."""
