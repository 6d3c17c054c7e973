"""Model API `hf-vlm/`: local vision-language models inside Inspect."""

from inspect_ai.model import ModelAPI, modelapi

from vlmguard.guard.roles import local_provider

__all__ = ["hf_vlm"]


@modelapi(name=local_provider("hf-vlm"))
def hf_vlm() -> type[ModelAPI]:
    """Local vision-language model through transformers (imported on first use)."""
    from vlmguard.guard.hf_vlm.api import HFVlm

    return HFVlm
