"""Whether this process speaks for a run, or another one does."""

from __future__ import annotations

from domainmetric.errors import Alarmed, Interrupted, ProcessLost


def follows() -> bool:
    """Whether this process is one of several of a run, and not the one that leads."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized() and dist.get_rank() > 0


def told_elsewhere(error: BaseException) -> bool:
    """Whether the leading process says this, and answers for it by its exit status; or the one that was lost does."""
    return isinstance(error, Interrupted | Alarmed | ProcessLost) and follows()
