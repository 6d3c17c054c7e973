"""Lets the defenses of one run share what a guard model says about the same content.

Several defenses that ask one guard model often ask about the same request: the second answer comes
from Inspect's cache. Records, tables and plans count it as a call all the same, with its tokens and
its price (Inspect keeps both in the output); only Inspect's own usage leaves it out.

The cache belongs to one run of `vlmguard run`, and never to separate ones (or to `inspect eval`): a
server may serve other weights under the same name. Logs show it as the cache of the role, so no
throughput is read from them. `generate: {cache: false}` of the role turns it off.
"""

import hashlib
import json
from uuid import uuid4

from inspect_ai.model import CachePolicy

from vlmguard.guard.guard_models.asked import ROLE
from vlmguard.results.logs.timing import LATENCY_TAG
from vlmguard.results.run.config import Matrix, ModelChoice, roles
from vlmguard.results.run.roles_needed import card_of


def with_guard_cache(matrix: Matrix) -> Matrix:
    """The matrix with a cache for the models in the role `guard`, if two defenses ask them.

    Latency is measured without it.

    Args:
        matrix: The matrix.
    """
    asking = [
        defense
        for defense in matrix.defenses
        if (card := card_of(defense.name)) and ROLE in {role.name for role in card.roles}
    ]
    if len(asking) < 2 or LATENCY_TAG in (matrix.options.get("tags") or []):
        return matrix
    run = uuid4().hex
    defenses = [
        defense.model_copy(
            update={
                "roles": {
                    **defense.roles,
                    ROLE: [_cached(each, run) for each in roles(matrix, defense)[ROLE]],
                }
            }
        )
        if defense in asking and ROLE in roles(matrix, defense)
        else defense
        for defense in matrix.defenses
    ]
    return matrix.model_copy(update={"defenses": defenses})


def _cached(model: ModelChoice, run: str) -> ModelChoice:
    if model.generate.cache is not None:
        return model
    # Inspect's key does not hold the arguments of a model: two adapters on one base have one name.
    told = json.dumps([run, model.model_args], sort_keys=True, default=str)
    scope = hashlib.sha256(told.encode()).hexdigest()[:16]
    policy = CachePolicy(expiry="1D", per_epoch=False, scopes={"run": scope})
    settings = model.generate.model_copy(update={"cache": policy})
    return model.model_copy(update={"generate": settings})
