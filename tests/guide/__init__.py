"""The shop of docs/guide.md and docs/patterns.md: their code, as the suite runs it."""
