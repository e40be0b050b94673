"""The alarms that every run has unless it names its own."""

from __future__ import annotations

from collections.abc import Mapping

from domainmetric.alarms.anchors import DeadAnchors
from domainmetric.alarms.base import Alarm
from domainmetric.alarms.below_source import BelowSource
from domainmetric.alarms.collapse import Collapse, OneClass
from domainmetric.alarms.discriminator import ChanceDiscriminator, PerfectDiscriminator
from domainmetric.alarms.divergence import Divergence
from domainmetric.alarms.idle_term import IdleTerm
from domainmetric.alarms.miswired import Miswired
from domainmetric.alarms.non_finite import NonFinite
from domainmetric.alarms.stuck_loss import StuckLoss


def default_alarms() -> dict[str, Alarm]:
    """All alarms, each of which warns; only numbers that are none stop the run."""
    return {
        "idle_term": IdleTerm(),
        "miswired": Miswired(),
        "chance_discriminator": ChanceDiscriminator(),
        "perfect_discriminator": PerfectDiscriminator(),
        "collapse": Collapse(),
        "one_class": OneClass(),
        "stuck_loss": StuckLoss(),
        "non_finite": NonFinite(),
        "dead_anchors": DeadAnchors(),
        "divergence": Divergence(),
        "below_source": BelowSource(),
    }


def left_out(alarms: Mapping[str, Alarm]) -> list[str]:
    """The default alarms that are not among these, neither by name nor by kind."""
    kinds = {type(alarm) for alarm in alarms.values()}
    return [name for name, alarm in default_alarms().items() if name not in alarms and type(alarm) not in kinds]
