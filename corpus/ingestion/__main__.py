"""`python -m corpus.ingestion DIR`: run one ingestion as a process."""

import sys

from corpus.ingestion.engine import main

if __name__ == "__main__":
    sys.exit(main())
