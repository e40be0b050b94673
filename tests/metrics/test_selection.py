"""Label-free scores against pytorch-adapt's validators, explicit loops, and degenerate checkpoints."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from domainmetric.errors import ConfigError, DataError
from domainmetric.metrics import selection
from domainmetric.metrics.selection import (
    BatchNuclearNorm,
    ClassCluster,
    Diversity,
    Entropy,
    Evidence,
    InformationMaximization,
    MmdScore,
    NeighborAgreement,
    SelectionScore,
    SoftNeighborhoodDensity,
    SourceAccuracy,
    all_scores,
)

MEMBERS = [
    member
    for _, member in inspect.getmembers(selection, inspect.isclass)
    if issubclass(member, SelectionScore) and not inspect.isabstract(member)
]


def others(num: int) -> Tensor:
    """Three others for each item, as far as there are that many."""
    similarity = torch.randn(num, num, generator=torch.Generator().manual_seed(7)).fill_diagonal_(-torch.inf)
    return similarity.topk(min(3, num - 1)).indices


def evidence(target_logits: Tensor | None = None, *, num: int = 40) -> Evidence:
    generator = torch.Generator().manual_seed(0)
    if target_logits is None:
        target_logits = 3 * torch.randn(num, 4, generator=generator)
    return Evidence(
        target_z=torch.randn(len(target_logits), 6, generator=generator),
        target_logits=target_logits,
        source_z=torch.randn(30, 6, generator=generator),
        source_logits=torch.eye(4).repeat(8, 1)[:30],
        source_labels=(torch.arange(30) % 4).index_fill(0, torch.arange(3), 3),
        target_neighbors=others(len(target_logits)),
    )


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:UserWarning")
def test_equal_to_pytorch_adapt() -> None:
    from pytorch_adapt.validators import BNMValidator, DiversityValidator, EntropyValidator, IMValidator, SNDValidator

    given = evidence()
    data = {"logits": given.target_logits, "preds": given.target_logits.softmax(1)}
    for score, validator in (
        (Entropy(), EntropyValidator()),
        (Diversity(), DiversityValidator()),
        (InformationMaximization(), IMValidator()),
        (SoftNeighborhoodDensity(), SNDValidator()),
        (BatchNuclearNorm(), BNMValidator()),
    ):
        assert score.score(given) == pytest.approx(validator(target_train=data), abs=1e-5)


def test_soft_neighborhood_density_equals_loops() -> None:
    given = evidence(num=12)
    p = given.target_logits.double().softmax(1)
    entropies = []
    for i in range(12):
        weights = [math.exp(float(torch.cosine_similarity(p[i], p[j], dim=0)) / 0.1) for j in range(12) if j != i]
        entropies.append(-sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights))
    assert SoftNeighborhoodDensity(temperature=0.1).score(given) == pytest.approx(sum(entropies) / 12, abs=1e-5)


def test_soft_neighborhood_density_thins_evenly() -> None:
    given = evidence(num=9)
    thinned = evidence(given.target_logits[[0, 4, 8]])
    assert SoftNeighborhoodDensity(max_items=3).score(given) == pytest.approx(SoftNeighborhoodDensity().score(thinned))


def test_nuclear_norm_equals_the_sum_of_singular_values() -> None:
    given = evidence()
    p = given.target_logits.softmax(1)
    assert BatchNuclearNorm().score(given) == pytest.approx(float(torch.linalg.svdvals(p).sum()) / 40, rel=1e-5)


def clustered(predicted: Tensor) -> Evidence:
    """Forty target items in four well separated clusters, ten each, with the given predictions."""
    generator = torch.Generator().manual_seed(3)
    z = torch.eye(6)[:4].repeat_interleave(10, 0) + 0.05 * torch.randn(40, 6, generator=generator)
    return replace(evidence(torch.nn.functional.one_hot(predicted, 4).float()), target_z=z)


def test_class_cluster_is_the_agreement_of_predictions_and_clusters() -> None:
    from sklearn.metrics import adjusted_mutual_info_score

    cluster = torch.arange(40) // 10
    some = torch.where(torch.arange(40) % 5 == 0, (cluster + 1) % 4, cluster)
    assert ClassCluster().score(clustered(cluster)) == pytest.approx(1)
    assert ClassCluster().score(clustered(some)) == pytest.approx(adjusted_mutual_info_score(some, cluster))
    swapped = torch.tensor([1, 0, 2, 3])[cluster]
    assert ClassCluster().score(clustered(swapped)) == pytest.approx(1), "a permutation of the classes is not seen"
    assert abs(ClassCluster().score(clustered(torch.arange(40) % 4))) < 0.1


def test_class_cluster_says_nothing_for_one_class_or_few_items() -> None:
    assert ClassCluster().score(clustered(torch.zeros(40, dtype=torch.int64))) == 0.0
    assert ClassCluster().score(evidence(torch.eye(4)[:3])) == 0.0
    towering = clustered(torch.arange(40) // 10)
    towering.target_logits[0] += 100  # its softmax is what it was, and so is everything that is said of it
    assert ClassCluster().score(towering) == pytest.approx(1)
    collapsed = replace(clustered(torch.arange(40) // 10), target_z=torch.ones(40, 6))
    assert abs(ClassCluster().score(collapsed)) < 1e-6


def test_source_accuracy_reads_the_source_only() -> None:
    assert SourceAccuracy().score(evidence()) == pytest.approx(27 / 30)


def test_mmd_prefers_the_nearer_domain() -> None:
    given = evidence()
    apart = replace(given, target_z=given.target_z + 5)
    assert MmdScore().score(apart) < MmdScore().score(given) <= 0


def test_decided_and_diverse_predictions_are_best() -> None:
    decided, constant = evidence(20 * torch.eye(4).repeat(10, 1)), evidence(torch.zeros(40, 4))
    for member in (InformationMaximization, Entropy, BatchNuclearNorm):
        assert member().score(decided) > member().score(evidence()) > member().score(constant)
    assert InformationMaximization().score(decided) == pytest.approx(math.log(4), abs=1e-4)
    assert Diversity().score(evidence(20 * torch.eye(4)[:1].repeat(40, 1))) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    "target_logits",
    [
        torch.zeros(20, 4),
        torch.full((20, 4), 7.0),
        1e4 * torch.eye(4)[:1].repeat(20, 1),
        1e4 * torch.eye(4).repeat(5, 1),
        torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
        torch.zeros(20, 4, dtype=torch.bfloat16),
    ],
    ids=["zero", "constant", "one_class", "saturated", "one_item", "bfloat16"],
)
def test_degenerate_checkpoints_score_finite_numbers(target_logits: Tensor) -> None:
    given = evidence(target_logits)
    collapsed = replace(given, target_z=torch.ones_like(given.target_z), source_z=torch.ones_like(given.source_z))
    for scores in (all_scores(given), all_scores(collapsed)):
        assert all(math.isfinite(score) for score in scores.values()), scores
    assert all_scores(collapsed)["mmd"] == pytest.approx(0, abs=1e-6)


def test_documented_values_of_constant_predictions() -> None:
    given = evidence(torch.zeros(20, 4))
    assert InformationMaximization().score(given) == pytest.approx(0, abs=1e-6)
    assert Entropy().score(given) == pytest.approx(-math.log(4))
    assert SoftNeighborhoodDensity().score(given) == pytest.approx(math.log(19), abs=1e-4)
    assert SoftNeighborhoodDensity().score(evidence(torch.zeros(1, 4))) == 0.0


def test_every_member_is_among_all_scores() -> None:
    given = evidence()
    scores = all_scores(given)
    assert list(scores) == [
        "information_maximization", "entropy", "diversity", "snd", "bnm", "class_cluster",
        "neighbor_agreement", "source_accuracy", "mmd",
    ]  # fmt: skip
    assert sorted(scores.values()) == sorted(member().score(given) for member in MEMBERS)


def test_neighbor_agreement_is_the_assortativity_of_the_predictions() -> None:
    import networkx

    given = evidence()
    graph = networkx.DiGraph()
    for item, row in enumerate(given.target_neighbors.tolist()):
        graph.add_node(item, predicted=int(given.target_logits[item].argmax()))
        graph.add_edges_from((item, neighbor) for neighbor in row)
    expected = networkx.attribute_assortativity_coefficient(graph, "predicted")
    assert NeighborAgreement().score(given) == pytest.approx(expected)


def test_neighbor_agreement_of_pure_mixed_and_single_classes() -> None:
    neighbors = torch.tensor([[1], [0], [3], [2]])
    given = replace(evidence(num=4), target_neighbors=neighbors)

    def of(*predicted: int) -> float:
        logits = torch.nn.functional.one_hot(torch.tensor(predicted), 4).float()
        return NeighborAgreement().score(replace(given, target_logits=logits))

    assert of(0, 0, 1, 1) == of(2, 2, 3, 3) == 1.0, "a permutation of the classes is not seen"
    assert of(0, 1, 0, 1) == -1.0
    assert of(0, 0, 0, 0) == 0.0
    assert of(0, 0, 0, 1) == pytest.approx((0.5 - 0.625) / (1 - 0.625))


@pytest.mark.parametrize("member", MEMBERS)
def test_order_of_the_items_does_not_matter(member: type[SelectionScore]) -> None:
    given = evidence()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = replace(
        given,
        target_z=given.target_z[order],
        target_logits=given.target_logits[order],
        target_neighbors=order.argsort()[given.target_neighbors[order]],
    )
    assert member().score(shuffled) == pytest.approx(member().score(given), abs=1e-5)


@pytest.mark.usefixtures("unchecked_shapes")
def test_mismatched_evidence_is_refused() -> None:
    given = evidence()
    with pytest.raises(DataError, match="target item needs one embedding"):
        replace(given, target_z=given.target_z[:-1])
    with pytest.raises(DataError, match="Each of the 40 target items needs its neighbors, but those of 39 came"):
        replace(given, target_neighbors=given.target_neighbors[:-1])
    with pytest.raises(DataError, match="Source logits"):
        replace(given, source_labels=given.source_labels[:-1])


def test_bad_evidence_and_settings_are_refused() -> None:
    given = evidence()
    with pytest.raises(DataError, match="diverged"):
        replace(given, target_logits=given.target_logits * torch.nan)
    with pytest.raises(ConfigError, match="temperature > 0"):
        SoftNeighborhoodDensity(temperature=0.0)
    with pytest.raises(ConfigError, match="max_items >= 2"):
        SoftNeighborhoodDensity(max_items=1)
    assert math.isfinite(SoftNeighborhoodDensity(max_items=2).score(given))
