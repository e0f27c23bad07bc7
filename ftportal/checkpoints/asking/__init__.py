"""How a model is asked: what its chat template is given, and how long its answers may be."""
