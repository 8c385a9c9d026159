"""Breaks the pure modules on purpose, one thing at a time, and sees whether a test notices: `python -m tools.mutation`.

A mutant exists in the memory of a forked process alone: an import hook gives the module's mutated text instead of its
own, so a run that is killed leaves nothing behind. Tests are started from a process that has pytest and all it needs
loaded, and begin with those that call the mutated function, then those that found mutants before.

Kept here rather than taken from a library: the ones there are mutate neither tables, constants and defaults of a module
nor decorated functions, properties among them, where much of this code decides; and they take one source root.
"""
