"""Reads logs: their content, whether it can be trusted, and its numbers."""
