"""vlmguard: an evaluation-first safety suite for vision-language models."""

from vlmguard.record import DefenseRecord, Stage, recorded
from vlmguard.rewriter import Rewrite, Rewriter

__all__ = ["DefenseRecord", "Rewrite", "Rewriter", "Stage", "recorded"]
