"""Real processes for tests: Redis, workers, Beat, monitor and web, each ended by its pid."""

from tests.harness.installation import Installation
from tests.harness.processes import Process, free_port
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

__all__ = ["Installation", "Process", "RedisServer", "eventually", "free_port"]
