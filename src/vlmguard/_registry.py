"""What Inspect loads at start-up through the `inspect_ai` entry point.

Here, and in `cli`, the parts are put together, the microworld among them; nothing else in guard/,
solvers/ or scorers/ knows it.

Importing this module registers every task, solver, scorer and model API of the
package. Each `inspect` process imports it, so nothing here may pull in torch.
"""

from vlmguard import scorers, solvers, tasks
from vlmguard.guard import hf_vlm
from vlmguard.training import synthesize
from vlmguard.training.microworld.models import api as microworld

__all__ = ["hf_vlm", "microworld", "scorers", "solvers", "synthesize", "tasks"]
