"""The vocoder's activation as one C kernel: training is then several times faster than with the class's own modules.

Compiled with the system's C compiler at first use. Where there is none, the class's modules stay as they are.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniAntiAliasedActivation1d

from .marathon import work_folder

SOURCE = Path(__file__).with_name("snake.c")


@cache
def kernel() -> ctypes.CDLL | None:
    """The compiled kernel; None where no C compiler is found or the compilation fails."""
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if compiler is None or not SOURCE.exists():
        return None
    source = SOURCE.read_bytes()
    target = work_folder() / f"snake-{hashlib.sha256(source).hexdigest()[:12]}-1.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Compiled and linked apart: a library linked with -ffast-math makes the whole process flush small numbers
        # to zero when it is loaded.
        part = target.with_suffix(".o")
        compile_only = [compiler, "-O3", "-march=native", "-ffast-math", "-fPIC", "-c", str(SOURCE), "-o", str(part)]
        link = [compiler, "-shared", str(part), "-o", str(target), "-lm"]
        if any(subprocess.run(command, check=False).returncode for command in (compile_only, link)):
            return None
    library = ctypes.CDLL(str(target))
    pointer, long = ctypes.c_void_p, ctypes.c_long
    library.snake_forward.argtypes = [pointer] * 5 + [long] * 3
    library.snake_backward.argtypes = [pointer] * 8 + [long] * 3
    return library


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, alpha: Tensor, beta: Tensor, taps: Tensor) -> Tensor:  # type: ignore[override]
        hidden = hidden.contiguous()
        output = torch.empty_like(hidden)
        batch, channels, length = hidden.shape
        library = kernel()
        assert library is not None
        library.snake_forward(*_addresses(hidden, alpha, beta, taps, output), batch * channels, channels, length)
        context.save_for_backward(hidden, alpha, beta, taps)
        return output

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, alpha, beta, taps = context.saved_tensors
        gradient = gradient.contiguous()
        results = torch.empty_like(hidden), torch.zeros_like(alpha), torch.zeros_like(beta)
        batch, channels, length = hidden.shape
        library = kernel()
        assert library is not None
        addresses = _addresses(hidden, alpha, beta, taps, gradient, *results)
        library.snake_backward(*addresses, batch * channels, channels, length)
        return (*results, None)


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


class FastActivation(nn.Module):
    """Stands for a `Qwen2_5OmniAntiAliasedActivation1d`, whose parameters it shares: the state dict stays the same."""

    def __init__(self, stock: Qwen2_5OmniAntiAliasedActivation1d) -> None:
        super().__init__()
        self.act = stock.act
        self.taps = nn.Buffer(stock.upsample.filter.flatten().contiguous(), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """[batch, channels, samples] → the same."""
        return _Snake.apply(hidden, self.act.alpha, self.act.beta, self.taps)  # type: ignore[no-any-return]


def use_kernel(model: nn.Module) -> bool:
    """Replace every activation in place by the kernel; False where there is no kernel."""
    if kernel() is None:
        return False
    for name, child in list(model.named_children()):
        if isinstance(child, Qwen2_5OmniAntiAliasedActivation1d):
            setattr(model, name, FastActivation(child))
        else:
            use_kernel(child)
    return True
