"""Runs a matrix of benchmarks, defenses and targets: checks it first, and resumes it."""
