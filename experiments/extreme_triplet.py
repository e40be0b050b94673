"""The retrieval benchmarks of "Extreme Triplet Learning" (Xuan & Pless 2019): easy positives, hard negatives, L1, L2.

**The full runs were not made**: neither the photographs nor ImageNet weights could be had where this was written. It
has been run end to end on trees of a few made-up photographs in each publisher's layout, with random weights, and its
recall compared with that of explicit loops. Who has the data makes the runs; the table then sets the paper's numbers
beside them.

Command: `python -m experiments.extreme_triplet cub --data FOLDER` (or cars, sop, inshop; FOLDER holds what the
publisher's archive holds, and an error says what is expected there). An interrupted run goes on with the same command.
Each run has a folder below `--results` (settings.json, log.csv, encoder.safetensors, result.json); results.csv there
tells of all that are finished.

The settings are those of the paper's experiments, where it names them: ResNet-18 or ResNet-50 with ImageNet weights, a
linear layer to 512 dimensions, images of 256 x 256, mirrored, and cropped at random within a frame of 10 pixels,
batches of 128 with n = 8 (CUB), 16 (Cars) or 2 (SOP, In-shop) images of a class, SGD for 40 epochs with a learning
rate of 0.005 (CUB: 0.0025), a tenth of it after 20 epochs and a hundredth after 30; EPHN or EPSHN, L1 or L2. Recall@K
leaves a query out of its own ranking; In-shop has queries and a gallery.

What it leaves open is chosen so, and may be why a number differs:
* No momentum and no weight decay, as in the authors' public code of "Improved Embeddings with Easy Positive Triplet
  Mining" (Xuan, Stylianou & Pless 2020), which this paper builds on. `--momentum` sets the former.
* An epoch has as many images as in that code: for CUB and Cars, the classes times the size of the largest one; for SOP
  and In-shop, one group of n for each class. Classes with fewer than n images are left out of training, and counted.
* The whole photograph is squeezed into the square, and colors are standardized as the ImageNet weights were trained
  (that code: by the statistics of each data set). The weights are torchvision's IMAGENET1K_V1, the only ones of the
  time.
* Ties count against the query. The last epoch is reported; the looks before it are for the curve, and choose nothing.

On a CPU a run with the same seed and number of threads gives the same bits each time, whatever the number of workers
and wherever it was interrupted; on a GPU sums are rounded otherwise each time.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domainmetric import ConfigError, DomainMetricError, Runtime, durable
from domainmetric.training.checkpoint import read_json
from domainmetric.training.runtime import fabric
from experiments.extreme_layouts import LAYOUTS
from experiments.extreme_settings import COMMON, LOSSES, LR, MINERS, PER_CLASS, RECALL_AT, Settings, papers_recall
from experiments.extreme_training import RESULT, SETTINGS, carry_out
from experiments.tables import markdown

RESULTS = Path("runs") / "extreme_triplet"


def settings_of(options: argparse.Namespace, seed: int) -> Settings:
    """The settings of one seed; what is not given is the paper's. Raises ConfigError for what cannot be done."""
    per_class = PER_CLASS[options.benchmark] if options.per_class is None else options.per_class
    lr = LR[options.benchmark] if options.lr is None else options.lr
    least = {"batch": 1, "epochs": 1, "every": 1, "dim": 1, "size": 1, "workers": 0}
    for name, smallest in least.items():
        if getattr(options, name) < smallest:
            raise ConfigError(f"--{name} must be at least {smallest}, but is {getattr(options, name)}.")
    if per_class < 2:
        raise ConfigError(f"--per-class must be at least 2, or no image has a positive, but is {per_class}.")
    if not 0 < lr < math.inf:
        raise ConfigError(f"--lr must be a positive number, but is {lr}. Leave it out for the paper's.")
    if not 0 <= options.momentum < math.inf:
        raise ConfigError(f"--momentum must be a number from 0 on, but is {options.momentum}.")
    if options.batch % per_class:
        raise ConfigError(f"A batch of {options.batch} does not hold whole groups of {per_class}. Change one of them.")
    return Settings(
        benchmark=options.benchmark,
        network=options.network,
        weights=None if options.weights == "none" else options.weights,
        miner=options.miner,
        loss=options.loss,
        seed=seed,
        per_class=per_class,
        lr=lr,
        momentum=options.momentum,
        epochs=options.epochs,
        batch=options.batch,
        dim=options.dim,
        size=options.size,
        every=options.every,
    )


def finished(folder: Path) -> list[dict[str, Any]]:
    """Settings and results of the finished runs below a folder, each as one row."""
    paths = sorted(folder.glob(f"*/{RESULT}"))
    rows = [{**read_json(path.with_name(SETTINGS)), **read_json(path)} for path in paths]
    return [{name: value for name, value in row.items() if not isinstance(value, dict)} for row in rows]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """The rows under all names that any of them has."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def table(rows: list[dict[str, Any]], benchmark: str) -> str:
    """The runs of a benchmark, and what the paper reports beside them."""
    ranks = RECALL_AT[benchmark]
    head = ["network", "miner", "loss", "seed", *(f"R@{k}, %" for k in ranks), "MAP@R, %", "R@1 of the paper, %"]
    body = []
    for row in (row for row in rows if row["benchmark"] == benchmark):
        paper = papers_recall(row)
        measured = [f"{100 * row[name]:.2f}" for name in (*(f"recall_at_{k}" for k in ranks), "map_at_r")]
        who = [row[name] for name in ("network", "miner", "loss", "seed")]
        body.append([*who, *measured, "" if paper is None else paper])
    return markdown(head, body)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and print the table of a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=list(LAYOUTS))
    parser.add_argument("--data", type=Path, required=True, help="folder with the publisher's files")
    parser.add_argument("--network", default=COMMON["network"], choices=("resnet18", "resnet50"))
    parser.add_argument("--miner", default="EPHN", choices=list(MINERS))
    parser.add_argument("--loss", default="L2", choices=list(LOSSES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--weights", default=COMMON["weights"], help="torchvision's name of them, or none")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=4, help="processes that decode photographs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder in which each run has its own")
    parser.add_argument("--per-class", type=int, help="n; the paper's by default")
    parser.add_argument("--lr", type=float, help="the paper's by default")
    parser.add_argument("--momentum", type=float, default=COMMON["momentum"])
    parser.add_argument("--epochs", type=int, default=COMMON["epochs"])
    parser.add_argument("--batch", type=int, default=COMMON["batch"])
    parser.add_argument("--dim", type=int, default=COMMON["dim"], help="dimensions of the embedding")
    parser.add_argument("--size", type=int, default=COMMON["size"], help="side of the images")
    parser.add_argument("--every", type=int, default=5, help="epochs between looks at the recall")
    options = parser.parse_args(arguments)
    try:
        asked = [settings_of(options, seed) for seed in options.seeds]
        benchmark, device = LAYOUTS[options.benchmark](options.data), fabric(Runtime(device=options.device)).device
        for one in asked:
            carry_out(one, benchmark, options.results / one.name, device=device, workers=options.workers)
        rows = finished(options.results)
        durable.write(options.results / "results.csv", as_csv(rows))
    except DomainMetricError as error:
        print(f"extreme_triplet: {error}", file=sys.stderr)
        return 1
    print(table(rows, options.benchmark))
    return 0


if __name__ == "__main__":
    sys.exit(main())
