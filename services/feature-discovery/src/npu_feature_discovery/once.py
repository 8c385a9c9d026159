"""Runs of the program that end by themselves, in the process that was started."""

from npu_core.service import logs
from npu_feature_discovery.app import Service
from npu_feature_discovery.settings import Settings


def run(settings: Settings) -> int:
    """Do what is asked; returns the exit status. Signals have to be held back already."""
    logs.configure(settings.log_level, settings.log_format)
    return Service(settings).run()
