"""Statistics: means and differences with intervals that hold, tests that stand together."""
