"""What the three node services share. The standard library alone: every daemon loads it."""
