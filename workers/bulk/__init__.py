"""Many jobs at once: gather a set and freeze it, act on it at a pace, follow what comes of it."""

# Commands and bulks need each other: whoever comes first, the commands are read first.
from workers import commands

__all__ = ["commands"]
