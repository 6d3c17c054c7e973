"""The leaderboard: its rows and columns, what is marked in it, and what others published."""
