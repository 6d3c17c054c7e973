"""Reading logs: what is in them, whether it can be trusted, and what it means as numbers."""
