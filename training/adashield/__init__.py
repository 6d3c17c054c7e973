"""The parts of `training/adashield_pool.py`, which makes the prompts of AdaShield's adaptive form.

`split` draws training and validation samples of each scenario (`rules`). `refine` looks for a
prompt for one sample (`prompts`). `collect` and `build` make a pool of the logs (`vlmguard pool`).
"""
