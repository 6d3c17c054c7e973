"""From logs to tables, figures and a regression gate."""
