"""Judges against each other and against people, and rates corrected by people's labels."""
