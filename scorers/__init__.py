"""Scorers that every task offers."""
