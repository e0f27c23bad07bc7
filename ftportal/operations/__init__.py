"""All that the portal needs on one machine, under one process: `python -m ftportal.operations`."""
