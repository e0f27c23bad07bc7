"""What is said of a run before it starts: time, memory, displacement, warnings.

No torch here: the portal's form says the same before a run is submitted.
"""
