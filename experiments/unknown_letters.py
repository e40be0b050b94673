"""Is the unknown turned away? Rendered letters, shown to networks that know digits alone.

Question: `Embedder.known` turns away what is unlike every class of a domain, by a threshold that a run reads off its
own unlabelled target images. How many of the domain's test images does it cost, and how many letters does it catch?
Letters are those that are not written like a digit, white on black as MNIST's and USPS' digits are, a little turned, in
the font that Pillow brings with it: easier than what people write.

Command: `python -m experiments.unknown_letters RUN [RUN ...]`, runs whose target is MNIST or USPS.

Finding (runs of `experiments/other_pairs.py`, seeds 21 to 23): where MNIST is the target, a threshold that should cost
5% of its images costs 6.3 to 6.6% and catches 66 to 76% of the letters; at 20% it costs 24% and catches 99 to 100%.
Where USPS is, whose test images are unlike its training images, 5% cost 13% and catch 90 to 95%. AUROC .94 to .96.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score
from torch import Tensor

from domainmetric import Embedder, Resize
from domainmetric.runner import data_root, read_experiment
from experiments.tables import markdown

LETTERS = "ACEFHJKMNPRTUVWXYadefhkmnprtuvwxy"
"""Without D, O, Q, I, l, Z, S, B, G, g, q, b and their like."""
SIDES = {"mnist": (28, 20), "usps": (16, 16)}
"""Pixels of an image, and of the digit in it."""
COUNT, IMAGES, LARGE = 3000, 3000, 4


def letters(count: int, side: int, figure: int) -> UInt8[Tensor, "n h w 1"]:
    """Letters in turn, each as large as a digit, turned by 8 degrees (deviation)."""
    draw, found = np.random.default_rng(0), []
    full, size = side * LARGE, figure * LARGE
    for place in range(count):
        image = Image.new("L", (full, full))
        canvas, letter = ImageDraw.Draw(image), LETTERS[place % len(LETTERS)]
        font = ImageFont.load_default(size)
        left, top, right, bottom = canvas.textbbox((0, 0), letter, font=font)
        font = ImageFont.load_default(size * size / max(right - left, bottom - top))
        left, top, right, bottom = canvas.textbbox((0, 0), letter, font=font)
        canvas.text(((full - left - right) / 2, (full - top - bottom) / 2), letter, fill=255, font=font)
        turned = image.rotate(draw.normal(scale=8), resample=Image.Resampling.BILINEAR)
        found.append(np.asarray(turned.resize((side, side), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(found))[..., None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, a row for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    rows = []
    for run in parser.parse_args(arguments).runs:
        experiment, embedder = read_experiment(run), Embedder.load(run)
        name = experiment.data.target.name
        if name not in SIDES:
            print(f"{run}: the target must be {' or '.join(SIDES)}, but is {name}.", file=sys.stderr)
            return 1
        stored = replace(experiment.data.target, framing=Resize())  # as large as they are: nothing is done to them
        own = embedder.embed(stored.load("test", root=data_root(experiment), size=SIDES[name][0]).images[:IMAGES])
        other = embedder.embed(letters(COUNT, *SIDES[name]))
        known = np.repeat([1, 0], [len(own.z), len(other.z)])
        auroc = roc_auc_score(known, np.concatenate([own.familiarity, other.familiarity]))
        shares = (f"{np.mean(~embedder.known(one, reject=r)):.1%}" for r in (0.05, 0.2) for one in (own, other))
        rows.append((run.name, f"{auroc:.3f}", *shares))
    head = ("run", "AUROC", "own lost at .05", "letters caught", "own lost at .2", "letters caught")
    print(markdown(head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
