"""Text of the host to values. Every function here is pure: a value or a FormatError, nothing else."""
