"""The world itself: what there is, what is dangerous, what it looks like, what is said of it."""
