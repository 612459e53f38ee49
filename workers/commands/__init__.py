"""What people can do. Importing this package fills the registry of `jobs.perform`."""

from workers.commands import alerts, bulk, channels, dead, errors, jobs, queues, rules, schedules, workers

__all__ = ["alerts", "bulk", "channels", "dead", "errors", "jobs", "queues", "rules", "schedules", "workers"]
