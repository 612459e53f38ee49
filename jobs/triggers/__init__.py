"""ORM triggers: which changes of which objects become which jobs."""
