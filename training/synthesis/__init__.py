"""The parts of `training/synthesize.py`, which makes training data in three stages.

`sources` and `sampling` choose raw rows (`record`). `pipeline` takes each row through the stages
(`prompts`, `parsing`, `answers`). `scorer` keeps or drops the result by `rules`.
"""
