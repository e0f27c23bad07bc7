"""The portal's settings for tests: the real ones, in an environment of their own.

Child processes of a test (workers, engines) inherit the environment and so meet the same database,
which is a file for that reason.
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("FTPORTAL_SECRET_KEY", "for-tests-only")
os.environ.setdefault("FTPORTAL_HTTPS", "false")
os.environ.setdefault("FTPORTAL_DATA", tempfile.mkdtemp(prefix="ftportal-tests-"))
os.environ.setdefault("FTPORTAL_TEST_DATABASE", os.environ["FTPORTAL_DATA"] + "/test.sqlite3")
# Nothing listens there: a test that needs Celery's messages starts a Redis of its own.
os.environ.setdefault("FTPORTAL_REDIS_URL", "redis://127.0.0.1:1/0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from ftportal.settings import *  # noqa: F403
from ftportal.settings import DATABASES

_database = Path(os.environ["FTPORTAL_TEST_DATABASE"])
DATABASES["default"] |= {"NAME": _database, "TEST": {"NAME": _database}}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
