"""Fetches a benchmark's data from where its authors publish them (`vlmguard data fetch`)."""
