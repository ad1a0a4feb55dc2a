"""Running averages: of a module's weights, which is what is measured and shipped, and of the losses between reports."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Average:
    """A module's weights, averaged over the last thousand or so steps."""

    def __init__(self, module: nn.Module, decay: float = 0.998) -> None:
        self._decay = decay
        self._shadow = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        """Move a little towards the module's weights; faster in the first steps."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            self._shadow[name].lerp_(value, weight)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self._shadow

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over averaged weights."""
        self._shadow = {name: value.clone() for name, value in state.items()}


class Means:
    """Means of named losses since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count one step."""
        self._count += 1
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())

    def take(self) -> dict[str, float]:
        """The means, rounded; counting begins anew."""
        means = {name: round(value / self._count, 4) for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means
