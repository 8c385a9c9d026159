"""Decisions about cards and units, on values alone: what is offered, preferred, granted."""
