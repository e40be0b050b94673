"""A term that is switched on and moves nothing: the fault that no loss curve shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domainmetric.alarms.base import Alarm, Finding
from domainmetric.alarms.sight import Sight


@dataclass(frozen=True, kw_only=True)
class IdleTerm(Alarm):
    """A term with a loss, but without gradient at the embeddings that it should move; or one that never has a loss."""

    patience: int = 4
    """Readings of the losses after which a term whose loss was exactly zero in all of them is told."""

    @property
    def meaning(self) -> str:
        return "The term is in the objective, but the network does not learn from it."

    @property
    def advice(self) -> str:
        return (
            "Look for a detach() or no_grad() between the network and the loss; for a metric term see whether the "
            "anchors match anything (anchors/coverage) and the miner finds triplets (triplets/used)."
        )

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.gradients is not None:
            seen = sight.gradients
            for name, term in sight.terms.items():
                for side in sorted(term.part.moves(seen.progress) & seen.shares.keys()):
                    loss, share = seen.losses[name], seen.shares[side].get(name, 0.0)
                    if loss != 0 and share == 0:
                        text = f"The term '{name}' has a loss of {loss:.4g}, but no gradient at the {side} embeddings."
                        yield Finding(f"{name}, {side}", text)
        if sight.read:
            for name in sight.terms:
                values = sight.values(f"loss/{name}")
                if len(values) == self.patience and not any(values):
                    yield Finding(name, f"The loss of the term '{name}' was exactly zero in all {sight.step} steps.")
