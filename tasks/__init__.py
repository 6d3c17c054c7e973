"""Benchmarks as Inspect tasks, one file each."""
