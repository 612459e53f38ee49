"""Many jobs at once: gather a set and freeze it, act on it at a pace, follow what comes of it."""
