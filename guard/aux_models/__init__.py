"""Models of the defenses that are no chat models: CLIP, reward model, detector, detoxifier."""
