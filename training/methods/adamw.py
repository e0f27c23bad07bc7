"""AdamW (Loshchilov & Hutter, arXiv 1711.05101): two moments for every weight."""

from training.methods.method import OPTIMIZER, Lever, Method


class AdamW(Method):
    """Every weight has moments of its own."""

    key = "adamw"
    name = "AdamW"
    help = "Trains every weight; three times the memory of APOLLO."
    order = 4
    safe_rates = (1e-5, 5e-5)
    lever = Lever("use APOLLO-Mini or LoRA as method", (OPTIMIZER,))


METHOD = AdamW()
