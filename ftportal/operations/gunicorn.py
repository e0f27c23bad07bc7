"""Settings of the web server under the manager: one process, a few threads, no traces on disk."""

import os
from typing import Any

from ftportal.operations.tether import die_with_parent

wsgi_app = "ftportal.wsgi:application"
worker_class = "gthread"
workers = 1
threads = 8
graceful_timeout = 5
timeout = 120
loglevel = "warning"
control_socket_disable = True


def post_fork(server: Any, worker: Any) -> None:
    """A web worker does not outlive its server, however that died."""
    die_with_parent(os.getppid())
