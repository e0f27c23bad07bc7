"""The portal's settings for tests: the real ones, in an environment of their own.

The database is a file, as it is for users: threads of a test meet in it.
"""

import os
import tempfile

os.environ.setdefault("FTPORTAL_SECRET_KEY", "for-tests-only")
os.environ.setdefault("FTPORTAL_HTTPS", "false")
os.environ.setdefault("FTPORTAL_SEED", "false")
os.environ.setdefault("FTPORTAL_DATA", tempfile.mkdtemp(prefix="ftportal-tests-"))
# Nothing listens there: a test that needs Celery's messages starts a Redis of its own.
os.environ.setdefault("FTPORTAL_REDIS_URL", "redis://127.0.0.1:1/0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from ftportal.settings import *  # noqa: F403
from ftportal.settings import DATABASES, FTPORTAL_DATA

if not os.environ.get("DATABASE_URL"):
    DATABASES["default"]["TEST"] = {"NAME": FTPORTAL_DATA / "test.sqlite3"}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Files are found when asked for: listing them all costs every new client a tenth of a second.
WHITENOISE_AUTOREFRESH = True
