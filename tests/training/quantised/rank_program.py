"""`tests.training.rank_program` on a machine without a GPU, for a base in few bits."""

from unittest.mock import patch

from tests.training.rank_program import main
from training.quantised.base import package_check

if __name__ == "__main__":
    with patch("training.run.machine_check", lambda bits, device: package_check(bits)):
        main()
