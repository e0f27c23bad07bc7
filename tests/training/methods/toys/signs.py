"""A toy method in one file: signed gradient descent (Bernstein et al., arXiv 1802.04434)."""

from typing import Any

from training.methods.method import Lever, Method, Settings, Shapes


class Signs(Method):
    """Every weight moves by the rate, against its gradient's sign."""

    key = "signs"
    name = "Signs of the gradient"
    help = "Moves every weight by the rate."
    order = 9
    safe_rates = (1e-6, 2e-6)
    lever = Lever("use something with less to carry than signs", ("gradients",))
    remedy = "Nothing is carried from step to step."

    def optimizer_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return 0: it keeps nothing."""
        return 0

    def update_norm(self, settings: Settings, shapes: Shapes) -> float:
        """Return what no other method would."""
        return 12345.0

    def optimizer(
        self, model: Any, settings: Settings, *, rate: float, weight_decay: float, seed: int
    ) -> Any:
        """Return torch's gradient descent over signs."""
        import torch

        class Descent(torch.optim.SGD):
            def step(self, closure: Any = None) -> Any:
                for group in self.param_groups:
                    for parameter in group["params"]:
                        if parameter.grad is not None:
                            parameter.grad.sign_()
                return super().step(closure)

        return Descent([p for p in model.parameters() if p.requires_grad], lr=rate)


METHOD = Signs()
