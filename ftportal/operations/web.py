"""The web server: `python -m ftportal.operations.web --bind HOST:PORT`.

waitress takes a request in as a whole before one of its threads sees it, and hands answers out as
slowly as they are taken: a client that dribbles a byte a second costs a socket, not a thread. In
production it may stand alone behind a proxy that speaks TLS; see docs/production.md.
"""

import argparse
import os
import signal
import sys
from types import FrameType

import waitress

from ftportal.operations.tether import die_with_parent

THREADS = 8
CONNECTIONS_MAX = 1000
IDLE_SECONDS = 60
HEADER_BYTES_MAX = 64 << 10


def main(arguments: list[str] | None = None) -> int:
    """Serve pages until SIGTERM or SIGINT; requests that are being answered are finished."""
    parser = argparse.ArgumentParser(prog="python -m ftportal.operations.web")
    parser.add_argument("--bind", default="127.0.0.1:8000", help="host:port")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument(
        "--trusted-proxy", help="address of the proxy whose X-Forwarded headers are believed"
    )
    parser.add_argument("--tethered", action="store_true", help="end with the parent process")
    options = parser.parse_args(arguments)
    if options.tethered:
        die_with_parent(os.getppid())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ftportal.settings")
    from django.conf import settings

    from ftportal.wsgi import application

    proxy = {}
    if options.trusted_proxy:
        proxy = {
            "trusted_proxy": options.trusted_proxy,
            "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
        }
    server = waitress.create_server(
        application,
        listen=options.bind,
        threads=options.threads,
        connection_limit=CONNECTIONS_MAX,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=10,
        asyncore_use_poll=True,
        max_request_header_size=HEADER_BYTES_MAX,
        # A little more than the largest upload: the page says what is wrong with a larger one.
        max_request_body_size=settings.FTPORTAL_UPLOAD_LIMIT_BYTES + (64 << 20),
        clear_untrusted_proxy_headers=True,
        ident="",
        **proxy,
    )
    signal.signal(signal.SIGTERM, _stop)
    server.run()
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
