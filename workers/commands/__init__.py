"""What people can do. Importing this package fills the registry of `jobs.perform`."""

from workers.commands import bulk, jobs, queues, schedules, workers

__all__ = ["bulk", "jobs", "queues", "schedules", "workers"]
