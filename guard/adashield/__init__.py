"""What AdaShield's defense and the builder of its pool of prompts share: layout, prompt, pool."""
