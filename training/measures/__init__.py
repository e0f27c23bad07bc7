"""What a session measures of itself, while it trains and after."""
