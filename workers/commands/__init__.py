"""What people can do. Importing this package fills the registry of `jobs.perform`."""

from workers.commands import bulk, dead, jobs, queues, workers

__all__ = ["bulk", "dead", "jobs", "queues", "workers"]
