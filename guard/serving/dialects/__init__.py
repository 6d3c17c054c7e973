"""The APIs that the proxy speaks, one file each; `base` says what a dialect has to know."""
