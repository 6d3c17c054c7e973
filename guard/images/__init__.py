"""Pictures: from a file's bytes to what every model API accepts."""
