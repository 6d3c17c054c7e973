"""Sets of any form: the rows of a file, what its columns mean, and presets as YAML."""
