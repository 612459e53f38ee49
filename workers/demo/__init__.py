"""A small shop that keeps the workers busy, so that a new installation has something to show.

Installed with DEMO=1 alone.
"""
