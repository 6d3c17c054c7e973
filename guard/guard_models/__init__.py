"""Guard models: classifiers that flag a request or an answer, by the format of their verdicts."""
