"""Real processes for tests: brokers, PostgreSQL, workers, Beat, monitor and web, each ended by its pid."""

from tests.harness.installation import Installation
from tests.harness.postgres_server import PostgresServer
from tests.harness.processes import Process, free_port
from tests.harness.rabbit_server import RabbitServer
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

__all__ = [
    "Installation",
    "PostgresServer",
    "Process",
    "RabbitServer",
    "RedisServer",
    "eventually",
    "free_port",
]
