"""Decisions about labels, on values alone."""
