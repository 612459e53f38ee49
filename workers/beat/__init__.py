"""What Beat does: a lease, the schedules in its memory, and the transaction that sends what is due."""
