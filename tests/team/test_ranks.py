"""What processes tell each other arrives, of every type; and a pass that they share is that of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from domainmetric.team.base import ALONE, Portion, Team
from domainmetric.team.ranks import Ranks
from domainmetric.types import Encoded
from tests.team.forks import in_each, worst

COUNTS = (5, 8)


class Net(nn.Module):
    """Whatever looks at a batch as a whole, and something after it."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Sequential(
            *(
                nn.Conv2d(3, 6, 3, bias=False),
                nn.BatchNorm2d(6),
                nn.Dropout2d(0.3),
                nn.ReLU(inplace=True),
                nn.Flatten(),
            ),
            *(nn.Linear(6 * 36, 10), nn.BatchNorm1d(10, affine=False, momentum=0.3), nn.Dropout(0.2, inplace=True)),
        )
        self.after = nn.Linear(10, 4)

    def forward(self, domain: str, images: Tensor, gather: Any = None) -> Encoded:
        z = self.before(images)
        z = z if gather is None else gather(z)
        return Encoded(z=z, logits=self.after(z))


def one_pass(team: Team) -> dict[str, Tensor]:
    """Two batches through a network, forward and backward, in double precision."""
    torch.manual_seed(0)
    network = Net().double()
    images = [torch.randn(count, 3, 8, 8, dtype=torch.float64) for count in COUNTS]
    portions = [Portion(each[team.share(len(each))], len(each)) for each in images]
    torch.manual_seed(1)
    encoded = team.encode(network, "source", portions)
    loss = (encoded.z.softmax(0) * torch.arange(10)).square().sum() + encoded.logits.cos().mean()
    (at_z,) = torch.autograd.grad(loss, encoded.z, retain_graph=True)
    loss.backward()
    team.sum_gradients(network.before.parameters(), network.after.parameters())
    gradients = {f"gradient/{name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    buffers = {f"buffer/{name}": buffer for name, buffer in network.named_buffers()}
    evaluated = ALONE.encode(network.eval(), "source", [Portion(torch.cat(images), sum(COUNTS))])
    return {"loss": loss[None], "z": encoded.z, "at z": at_z, "evaluated": evaluated.z, **gradients, **buffers}


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_shared_pass_is_that_of_one_process(size: int, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        wanted = one_pass(ALONE)
    assert sum(name.startswith("gradient/") for name in wanted) == 7
    for found in in_each(size, tmp_path, one_pass):
        share, name = worst(found, wanted)
        assert share < 1e-12, name


def exchanged(team: Team) -> dict[str, Tensor]:
    assert isinstance(team, Ranks)
    rank = team.rank
    numbers = [
        torch.tensor([[1.5, -2.0]]) + rank,
        torch.tensor([3, 2**40]) + rank,
        torch.tensor([rank == 0, rank == 1, True]),
        torch.tensor([0.1 + rank], dtype=torch.bfloat16),
        torch.empty(0, 3),
    ]
    of_leader = dict(zip(("float", "long", "bool", "bfloat16", "empty"), team.same(numbers), strict=True))
    rows = torch.arange(7.0)[team.share(7)]
    mixed = {"float": rows[:, None], "bfloat16": rows.bfloat16(), "bool": rows > 3}
    gathered = dict(zip(mixed, team.gather(list(mixed.values()), 7), strict=True))
    told = team.told(lambda: {"text": "ä", "number": 0.1, "rank": rank})
    assert told == {"text": "ä", "number": 0.1, "rank": 0}
    flags = [team.any(False), team.any(rank == 1), team.any(False), team.any(False)]
    weight = torch.full((2, 3), float(rank)).t()
    team.align([weight, counter := torch.tensor(rank)])
    team.wait()
    more = {"flags": torch.tensor(flags), "aligned": weight, "counter": counter[None]}
    return {**of_leader, **{f"gathered/{k}": v for k, v in gathered.items()}, **more}


@pytest.mark.parametrize(("size", "nodes"), [pytest.param(3, 1, id="one machine"), pytest.param(2, 2, id="two")])
def test_what_is_told_arrives(size: int, nodes: int, tmp_path: Path) -> None:
    for found in in_each(size, tmp_path, exchanged, nodes):
        assert found["float"].tolist() == [[1.5, -2.0]]
        assert found["long"].tolist() == [3, 2**40]
        assert found["bool"].tolist() == [True, False, True]
        assert torch.equal(found["bfloat16"], torch.tensor([0.1], dtype=torch.bfloat16))
        assert found["empty"].shape == (0, 3)
        assert found["gathered/float"].squeeze(1).tolist() == list(range(7))
        assert found["gathered/bfloat16"].dtype == torch.bfloat16
        assert found["gathered/bfloat16"].tolist() == list(range(7))
        assert found["gathered/bool"].tolist() == [row > 3 for row in range(7)]
        assert found["flags"].tolist() == [False, False, True, False]  # what is said is heard the next time
        assert not found["aligned"].any() and not found["counter"].any()
