"""A base in few bits, beside which an adapter is trained: its layers, and how it is read."""
