"""Breaks modules on purpose, one thing at a time, and sees whether a test notices: `python -m tools.mutation`.

A mutant exists in the memory of a forked process alone: an import hook gives the module's mutated text instead of its
own, so a run that is killed leaves nothing behind. Tests are started from a process that has pytest and all it needs
loaded, and begin with those that call the mutated function, then those that found mutants before.

A test that computes or waits for ever is ended by a limit in the child's own time, after what the test takes unhurt.
Time in which the machine had no processor for the child does not count.

Kept here rather than taken from a library: docs/adr/0025 says what the libraries leave out.
"""
