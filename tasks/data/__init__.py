"""Finds, reads and checks benchmark data."""
