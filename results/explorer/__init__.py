"""Pages in which a reader walks the samples of a leaderboard."""
