"""Makes a data set of kept rows: collected, split, compared with test sets, written with a card."""
