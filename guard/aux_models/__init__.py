"""Models of the defenses that are not chat models: CLIP, reward model, detector, detoxifier."""
