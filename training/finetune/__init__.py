"""Fine-tunes the rewriter with TRL: supervised first, then GRPO; resumable, with a model card."""
