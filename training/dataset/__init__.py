"""Kept rows as a data set: collected, split, compared with the test sets, written with a card."""
