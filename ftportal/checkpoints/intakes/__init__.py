"""Models that a worker looks at before they are taught, and fetches where they are on the hub."""
