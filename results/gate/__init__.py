"""The gate: has a change made anything worse than the baseline?"""
