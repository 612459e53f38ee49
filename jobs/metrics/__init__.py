"""What Prometheus scrapes: counted as it is written (`counting`, `totals`), read at one moment (`look`),
and shown under the names of celery-exporter, of Flower and of our own (docs/metrics.md)."""
