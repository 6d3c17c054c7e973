"""Building the rewriter: data synthesis and fine-tuning."""
