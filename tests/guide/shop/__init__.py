"""A shop that takes orders; its bank is `bank.py`."""
