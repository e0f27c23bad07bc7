"""The page on which a reviewer judges: what it shows, how answers are laid out, its forms."""
