"""Output of results: tables for every format, the page, figures, files for programs."""
