"""Benchmarks as Inspect tasks, one file and one line here each."""

from vlmguard.guard.cards import check_names, registered
from vlmguard.tasks.figstep import figstep as figstep
from vlmguard.tasks.guard_eval import guard_eval as guard_eval
from vlmguard.tasks.holisafe import holisafe as holisafe
from vlmguard.tasks.jailbreakv import jailbreakv as jailbreakv
from vlmguard.tasks.microworld import microworld as microworld
from vlmguard.tasks.mis import mis as mis
from vlmguard.tasks.mm_safetybench import mm_safetybench as mm_safetybench
from vlmguard.tasks.mme import mme as mme
from vlmguard.tasks.mmstar import mmstar as mmstar
from vlmguard.tasks.mossbench import mossbench as mossbench
from vlmguard.tasks.mssbench import mssbench as mssbench
from vlmguard.tasks.msts import msts as msts
from vlmguard.tasks.pope import pope as pope
from vlmguard.tasks.scienceqa import scienceqa as scienceqa
from vlmguard.tasks.siuo import siuo as siuo
from vlmguard.tasks.spa_vl import spa_vl as spa_vl
from vlmguard.tasks.vlguard import vlguard as vlguard
from vlmguard.tasks.vlm_safety import vlm_safety as vlm_safety
from vlmguard.tasks.vlsbench import vlsbench as vlsbench

# A card of a task that runs several has no function of its name.
check_names(globals(), [each.name for each in registered().benchmarks.values() if not each.task])
