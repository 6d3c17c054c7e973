"""The package's own name: of its distribution, its command, its entry point and its loggers.

A constant, because one of the defenses has the same name.
"""

from typing import Final

__all__ = ["PACKAGE"]

PACKAGE: Final = "vlmguard"
