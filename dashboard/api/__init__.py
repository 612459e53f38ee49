"""`/api/v1`: the record and the commands for programs, with tokens (docs/api.md)."""
