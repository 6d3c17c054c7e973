"""Turns logs into tables, figures and the verdict of a regression gate."""
