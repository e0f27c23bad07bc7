"""What keeps a session from forgetting, and what watches whether it does."""
