"""Programs for the people who work on this project. Each has a verb in the Makefile."""
