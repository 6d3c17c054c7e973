"""Runs what our pages tell people to type, as a reader would: blocks of bash, Python and YAML."""
