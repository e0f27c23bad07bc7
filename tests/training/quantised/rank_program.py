"""`tests.training.rank_program` on a machine without a GPU, for a base in few bits."""

import training.run
from tests.training.rank_program import main
from training.quantised.base import package_check

if __name__ == "__main__":
    vars(training.run)["machine_check"] = lambda bits, device: package_check(bits)
    main()
