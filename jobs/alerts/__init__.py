"""Alerts: rules over the facts of the record, and the life of what they find."""
