"""Domain-adversarial training (Ganin et al. 2016): the encoder learns what a domain discriminator cannot tell apart.

The gradient reversal is pytorch-adapt's layer; source is 0 and target 1.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.alignment.base import AlignmentTerm
from domainmetric.alignment.class_share import ClassShare
from domainmetric.errors import ConfigError
from domainmetric.schedules import Schedule, SigmoidRamp
from domainmetric.step import PartContext, PartModule, Side, Step

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    from pytorch_adapt.layers import GradientReversal


@dataclass(frozen=True, kw_only=True)
class Dann(AlignmentTerm):
    """Binary cross-entropy of a domain discriminator behind a gradient reversal; each domain counts for half.

    Give it a term beside it. As the only pull on a branch of its own it ruins that branch: AdamW divides a gradient by
    its own size, so that weight and strength mean nothing there, and the branch outruns the discriminator (measured in
    `experiments/why_alignment_hurts.py`; a larger `Optimizer.epsilon` holds the branch back).
    """

    strength: Schedule = field(default_factory=SigmoidRamp)
    """What the reversed gradient is multiplied by; the discriminator itself always learns at full strength."""
    hidden: int = 256
    """Width of the discriminator's hidden layer."""
    class_weighted: bool = False
    """Weigh source rows by how common their class is among the target's predictions, as `Mmd` does."""

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ConfigError(f"Dann.hidden must be positive, but is {self.hidden}.")

    def moves(self, progress: float) -> frozenset[Side]:
        return frozenset({"source", "target"}) if self.strength.at(progress) > 0 else frozenset()

    def build(self, context: PartContext) -> PartModule:
        return _Dann(self, context)


class _Dann(PartModule):
    def __init__(self, spec: Dann, context: PartContext) -> None:
        super().__init__()
        self.strength = spec.strength
        self.reversal = GradientReversal()
        self.discriminator = nn.Sequential(
            nn.Linear(context.embedding_dim, spec.hidden), nn.ReLU(inplace=True), nn.Linear(spec.hidden, 1)
        )
        self.class_share = ClassShare(context.num_classes) if spec.class_weighted else None

    def forward(self, step: Step) -> Float[Tensor, ""]:
        z_s, z_t = step.encoded_source.z, step.z_t
        self.reversal.update_weight(self.strength.at(step.progress))
        logits = self.discriminator(self.reversal(torch.cat([z_s, z_t]))).squeeze(1).float()
        on_source, on_target = logits.split([len(z_s), len(z_t)])
        step.notes["dann/accuracy"] = ((on_source < 0).float().mean() + (on_target > 0).float().mean()).detach() / 2
        of_source = F.softplus(on_source)
        mean = of_source.mean() if self.class_share is None else self.class_share(step) @ of_source
        return (mean + F.softplus(-on_target).mean()) / 2
