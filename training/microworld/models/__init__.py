"""The tiny models: made, trained, examined, shipped, and served as the provider `microworld/`."""
