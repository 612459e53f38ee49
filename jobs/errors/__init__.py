"""Errors: failed jobs grouped by what they failed with."""
