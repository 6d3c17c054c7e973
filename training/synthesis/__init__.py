"""Training data in three stages: what `training/synthesize.py` is made of.

`sources` and `sampling` choose raw rows (`record`), `pipeline` takes each through the stages
(`prompts`, `parsing`, `answers`), `scorer` keeps or drops what came out by `rules`.
"""
