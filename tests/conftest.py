"""The Hypothesis profile of all tests: the same examples in every run."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("dafka", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("dafka")
