"""What is exported, on values alone, and its bytes."""
