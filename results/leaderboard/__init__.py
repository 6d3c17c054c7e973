"""The leaderboard: its rows and columns, its marks, and the numbers that others published."""
