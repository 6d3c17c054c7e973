"""The tiny models: made, taught, examined, shipped, and offered as the provider `microworld/`."""
