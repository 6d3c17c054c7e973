"""The microworld: a small synthetic world in which the whole paper runs on two cores.

world/    `hazards` (pictures, requests, the table of hazards, splits), `language` (what is said,
          and the oracle that reads it), `drawing`, `samples`, `levels` (abilities), `raw_rows`
models/   `tokenizer`, `architectures`, `lessons` and `teach` (targets and the rewriter's base),
          `auxiliaries`, `clip` and `calibrate` (what the baselines need), `make_rewriter` (the
          rewriter, by the documented commands), `examine_auxiliaries` and `examine_rewriter` (how
          good they are), `cards`, `build`; `api` (the provider `microworld/`), `oracle` (models
          without a network)
use/      `controls`, `flags`, `matrix`, `components`, `report`, `commands`; the task is in tasks/
weights/  the shipped models

Two things are unlike the real thing. A line of a prompt is one token, so that a tiny model spends
its capacity on what is asked and not on how. And a target's level of competence is told to it in a
system turn of one word. What a target made of its lessons stands in its card.
"""
