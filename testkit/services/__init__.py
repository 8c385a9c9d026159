"""The three services as real processes on a simulated node, and what asks them."""
