"""A pass through a network that several processes share, as if one had done it: statistics and noise of all rows.

Batch normalization and dropout look at a batch as a whole. `Together` takes their place wherever a network calls them,
in whatever module, so that networks are built, saved and copied as they are. torch's own `SyncBatchNorm` has no CPU
version, and would take the place of modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from domainmetric.team.layout import Layout

DROPOUTS = {F.dropout: False, F.dropout1d: True, F.dropout2d: True, F.dropout3d: True}
"""Whether whole channels are dropped."""


@runtime_checkable
class Channel(Protocol):
    """How processes exchange numbers."""

    def collect(self, own: Tensor) -> Tensor:
        """The tensors of all processes, of one shape, in their order: one more dimension, the first."""

    def sum(self, own: Tensor) -> Tensor:
        """The sum of the tensors of all processes. What is given may be changed."""


class Together(TorchFunctionMode):
    """Within it, batch normalization in training and dropout are those of all rows of a pass."""

    def __init__(self, channel: Channel, layout: Layout) -> None:
        super().__init__()
        self._channel, self._layout = channel, layout

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is F.batch_norm:
            return self._batch_norm(*args, **named)
        if func in DROPOUTS:
            return self._dropout(func, *args, **named)
        return func(*args, **named)

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        mean, var = self._moments(x)
        num = self._layout.total * x[0, 0].numel()
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (num / max(1, num - 1))).to(running_var.dtype), momentum)
        result: Tensor = _Normalize.apply(x, weight, bias, mean, var, eps, num, self._channel)
        return result

    @torch.no_grad()
    def _moments(self, x: Float[Tensor, "own c *_"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and mean squared deviation of each channel over all rows, from those of each process (Chan et al.)."""
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        means, variances = self._channel.collect(
            torch.stack(torch.batch_norm_update_stats(wide, None, None, 0.0))
        ).unbind(1)
        weights = self._layout.shares.to(means.dtype)
        mean = (weights * means).sum(0)
        return mean, (weights * (variances + (means - mean).square())).sum(0)

    def _dropout(
        self, func: Callable[..., Tensor], x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training:
            return func(x, p, False, inplace)
        rest = (x.shape[1], *(1 for _ in x.shape[2:])) if DROPOUTS[func] else x.shape[1:]
        drawn = self._layout.cut(func(x.new_ones(self._layout.total, *rest), p, True, False))
        return x.mul_(drawn) if inplace else x * drawn


class _Normalize(torch.autograd.Function):
    """Normalization by the moments of all rows; the gradient of the moments comes from all processes.

    Both passes are those of torch's own normalization by given moments. The gradients of weight and bias are what the
    rows of this process add.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        eps: float,
        num: int,
        channel: Channel,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps, ctx.num, ctx.channel = eps, num, channel
        return torch.batch_norm(x, weight, bias, mean, var, False, 0.0, eps, False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = ctx.channel.sum(torch.stack([dweight, dbias]))
        inverse = (var + ctx.eps).rsqrt()
        slope = -scale * inverse.square() * sums[0] / ctx.num
        shift = -scale * inverse * sums[1] / ctx.num - slope * mean
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        dx = dx.to(mean.dtype).add_(shift.view(shape)).addcmul_(x.to(mean.dtype), slope.view(shape)).to(x.dtype)
        return dx, None if weight is None else dweight, None if weight is None else dbias, *(None,) * 5
