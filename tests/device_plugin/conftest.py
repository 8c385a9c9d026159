"""What every test of the device plugin shares."""

from hypothesis import settings

# The examples run on whatever machine there is, so how long one takes says nothing about the code.
settings.register_profile("default", deadline=None, max_examples=50)
settings.load_profile("default")
