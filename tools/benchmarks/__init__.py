"""Measurements of whole processes, side by side in one run. Not part of the test run; ``make bench``."""
