"""The microworld: a small synthetic world, in which all experiments of the paper run on two cores.

world/    `hazards` (pictures, requests, the table of hazards, splits), `language` (what is said,
          and the oracle that reads it), `drawing`, `samples`, `levels` (abilities), `raw_rows`
models/   `tokenizer`, `architectures`, `lessons` and `teach` (targets and the rewriter's base),
          `auxiliaries`, `clip` and `calibrate` (what the baselines need), `make_rewriter` (the
          rewriter, by the documented commands), `examine_auxiliaries` and `examine_rewriter` (how
          good they are), `cards`, `build`; `api` (the provider `microworld/`), `oracle` (models
          without a network)
use/      `controls`, `flags`, `matrix`, `components`, `report`, `commands`; the task is in tasks/
weights/  the shipped models

Two things differ from real models. A line of a prompt is one token, so that a tiny model spends its
capacity on the question and not on its wording. And a system turn of one word tells a target its
level of competence. A target's card says how much it learned.
"""
