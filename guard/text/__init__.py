"""Text that models say and are shown: read by one rule, cleaned before another model sees it."""
