"""The frame of an engine process: one attempt in one directory, its events, its exit code.

Both engines stand on it, and the portal reads with it what they wrote. No torch but in
`engine.products`, and no Django.
"""
