"""`vlmguard run --ray`: the cells of a matrix on a Ray cluster.

A cell is one benchmark under one defense on one target (and under one attack, and one shard of its
samples): `cells.py` makes them, `folders.py` names their folders, `finished.py` knows those that
are done. `driver.py` hands them out to processes on the nodes (`node.py`), which run them with the
same code as a run without Ray (`rounds.py`). Ray is imported in `session.py` and `pool.py`, and
only when a run asks for it.
"""
