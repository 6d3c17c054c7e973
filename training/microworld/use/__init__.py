"""The paper's experiment in small: runs, controls, tables, and the commands for them.

This folder may import any other; only the command line imports it.
"""
