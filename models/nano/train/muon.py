"""Muon: matrices step by their orthogonalised momentum; everything else by AdamW."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial whose iteration drives singular values towards one (Jordan et al., 2024)."""
ITERATIONS = 5


class Muon:
    """Both optimisers behind one step.

    Matrices of one shape are orthogonalised together: with small models the calls, not the arithmetic, cost the time.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], lr: float, decay: float = 0.02) -> None:
        self.decay = decay
        self.base = lr
        self._groups: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        rest = []
        for name, parameter in named:
            # Tables and heads hold a row for each symbol; rows are no directions to be made equal.
            is_table = "embed_tokens" in name or "lm_head" in name or "head" in name
            if parameter.ndim >= 2 and not is_table:
                self._groups[(parameter.shape[0], parameter[0].numel())].append(parameter)
            else:
                rest.append(parameter)
        self.adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
        self._momenta = {shape: torch.zeros(len(group), *shape) for shape, group in self._groups.items()}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.adam.zero_grad(set_to_none=True)
        for group in self._groups.values():
            for parameter in group:
                parameter.grad = None

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update all weights; `scale` multiplies the learning rate."""
        lr = self.base * scale
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        for shape, group in self._groups.items():
            # A part of the model that this batch did not use keeps still: its momentum fades, without a step.
            used = [index for index, parameter in enumerate(group) if parameter.grad is not None]
            if not used:
                continue
            gradients = torch.stack([group[index].grad.flatten(1) for index in used])  # pyright: ignore
            momenta = self._momenta[shape][used].lerp_(gradients, 1 - MOMENTUM)
            self._momenta[shape][used] = momenta
            steps = orthogonal(gradients.lerp(momenta, MOMENTUM))
            # The factor gives the step the size that AdamW's would have, so that one learning rate serves both.
            steps *= -lr * 0.2 * max(shape) ** 0.5
            for index, step in zip(used, steps, strict=True):
                group[index].mul_(1 - lr * self.decay).add_(step.view_as(group[index]))

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"adam": self.adam.state_dict(), "momenta": self._momenta}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """From a checkpoint of the same model."""
        self.adam.load_state_dict(state["adam"])  # pyright: ignore
        for shape, momenta in state["momenta"].items():  # pyright: ignore
            self._momenta[shape].copy_(momenta)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices with equal singular values, roughly: [n, rows, columns]."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.transpose(1, 2)
        x = a * x + (b * square + c * square @ square) @ x
    return x.transpose(1, 2) if tall else x
