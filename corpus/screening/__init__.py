"""What is looked for in examples before they train: personal data, duplicates, contamination."""
