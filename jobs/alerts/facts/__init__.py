"""What rules look at: read from buckets, samples and signs of life, never from all jobs."""
