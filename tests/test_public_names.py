"""What `domainmetric` offers by name. A change here is a change of the public interface: say it in CHANGELOG.md."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import domainmetric

PUBLIC = """
AdaptHook AdaptLayer AdaptScore AdaptationPhase AdaptiveThreshold Alarm Alarmed AlbumentationsViews AlignmentTerm
AllLabels AnchorContext AnchorMatcher AnchorStrategy Augment Augmentation Backbone Balanced Bank Banks BelowSource
BestScore Branches CellSearch CenterCrop CentralSquare ChanceDiscriminator ChecksumMismatch Chord ChordSquared
ClassQuota Classify ClassifyLabelledTarget Cluster Collapse Confident ConfigError Consistency Constant Contrastive
Converted Coral Cosine CrossBatchMemory Dann DataError DataNotPrepared DeadAnchors DigitViews Disjoint Distance
DistanceWeighted Divergence Domain DomainMetricError Dtn EasyPositiveEasyNegative EasyPositiveHardNegative
EasyPositiveSemiHardNegative Embedded Embedder Emnist EpochGroups Evaluation ExactSearch Experiment FashionMnist
FewLabels Finding FirstOrder Folder Found Framing FromDataset FromMatrix FromPairwise Frozen Geodesic Group Groups
HardNegative HardPositiveHardNegative HingeEmbedding IdleTerm ImageSet Imbalanced InformationMaximization Interrupted
Items Kmnist LabelledTarget LastCheckpoint LossValue Lp MarginTriplet MarginViolating MatchedBalanced Matches Member
Memory Metric MetricLoss Miner Miswired Mmd Mnist MnistM Model MultiSimilarity Mutual NTXent Nearest NonFinite OneClass
OneCycle Optimizer Oracle OwnBackbone Pad Pair Pairs Part PartContext PartModule PerfectDiscriminator Phase Pipeline
PixelAgreement PixelNearest PmlLoss PmlMiner ProcessLost Propagation Prototype RandomAnchors RandomTriplets Resize
Roles RunFolderError Runtime Sampling Schedule SecondOrder Selection SelectionScore SelectivelyContrastive SemiHard
SemiHardTriplet Separate Shuffled Sight SigmoidRamp SklearnDigits SmallCnn SmallResNet18 SoftMarginTriplet SourcePhase
SphereDistance Step StreetDigits StuckLoss SupCon Svhn Table TargetSampling Term Threshold Tied TimmBackbone
TorchImages TorchvisionBackbone Tracking Transport TripletLoss Triplets UnlabelledFolder UsageError Usps ViewStream
Views WithClasses default_alarms from_adapt match resume run to_adapt
""".split()  # noqa: SIM905 (a hundred names read better as text)


def test_the_names_are_pinned_and_sorted() -> None:
    assert domainmetric.__all__ == sorted(PUBLIC)
    assert set(domainmetric.__all__) <= set(dir(domainmetric))


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_is_found_at_its_home_and_documented(name: str) -> None:
    value = getattr(domainmetric, name)
    assert value.__module__ == f"domainmetric.{domainmetric._HOME[name]}"
    assert value.__name__ == name
    assert (inspect.getdoc(value) or "").strip()


def test_type_checkers_and_python_read_the_same_names() -> None:
    tree = ast.parse(Path(inspect.getfile(domainmetric)).read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    typed = {alias.name: str(node.module).removeprefix("domainmetric.") for node in imports for alias in node.names}
    assert typed == domainmetric._HOME


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'domainmetric' has no attribute 'Expriment'"):
        _ = domainmetric.Expriment  # type: ignore[attr-defined]


def test_importing_the_package_imports_no_torch_and_using_it_warns_of_nothing() -> None:
    code = "import sys, domainmetric; assert 'torch' not in sys.modules; domainmetric.run, domainmetric.Dann"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
