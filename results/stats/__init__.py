"""Means and differences with their intervals, tests, and corrections for many tests."""
