"""Defenses as Inspect solvers, one file each."""
