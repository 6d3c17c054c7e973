"""vlmguard: an evaluation-first safety suite for vision-language models."""
