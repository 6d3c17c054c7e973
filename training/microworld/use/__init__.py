"""A small version of the paper's experiment: runs, controls, tables, and their commands.

This folder may import any other; only the command line imports it.
"""
