"""What Inspect loads at start-up through the `inspect_ai` entry point.

Importing this module registers every task, solver, scorer and model API of the
package. Each `inspect` process imports it, so nothing here may pull in torch.
"""

from vlmguard.hf_vlm import hf_vlm

__all__ = ["hf_vlm"]
