"""The program that publishes labels through the API server, once, and ends.

Started by :mod:`npu_feature_discovery.sinks.child`; nothing imports it, for it is the one place that loads the
``kubernetes`` client. Of that it uses configuration, authentication and transport alone: the typed APIs and their
models would cost another 0.4 CPU seconds and 20 MB for the three objects this program knows.

A publication, one GET and one write, costs 0.31 CPU seconds and 46 MB while it lasts; see
docs/adr/0012-api-sinks-in-a-child.md.
"""
