"""Where benchmark data come from, and reading them without surprises."""
