"""The tables of the README: recipes on the same seeds, one below the other.

`ladder` has every quick recipe of SVHN -> MNIST, and every term left out; `other_pairs` the recipes on other domains;
`frontier` the one that is to reach the highest accuracy.

Command: `python -m experiments.ladder --seeds 11 12 13`, or `python -m experiments.ladder other_pairs --seeds 21 22 23`
(a process for each run, `--workers` at a time with `--threads` each; what is finished is not run again). Results are
kept in `experiments/results/ladder.json` and so on; `--table` prints them as Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import fmean
from typing import Any

from domainmetric import durable
from experiments.tables import markdown, spread

RESULTS = Path(__file__).parent / "results"
SVHN_TO_MNIST = {
    "svhn_to_mnist.py": (
        "quick_source_only",
        "quick_full",
        "quick_core",
        "quick_dann",
        "quick_mmd",
        "quick_dann_mmd",
        "quick_semantic_anchors",
        "quick_pixel_anchors",
        "quick_target_supervised",
    ),
    "unguarded.py": ("quick_dann_unguarded", "quick_mmd_unguarded", "quick_dann_mmd_unguarded"),
    "leave_one_out.py": (
        "quick_full_without_triplet",
        "quick_full_without_dann",
        "quick_full_without_mmd",
        "quick_core_without_dann",
        "quick_core_without_mmd",
    ),
}
PAIRS = ("usps_to_mnist", "mnist_to_usps", "street_to_svhn", "mnist_to_svhn", "folders")
OTHER_PAIRS = {"other_pairs.py": tuple(name for pair in PAIRS for name in (f"{pair}_source_only", pair))}
LADDERS: dict[str, dict[str, tuple[str, ...]]] = {
    "ladder": SVHN_TO_MNIST,
    "other_pairs": OTHER_PAIRS,
    "frontier": {"frontier.py": ("frontier",)},
}
"""Name -> file -> recipes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ladder", nargs="?", choices=LADDERS, default="ladder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--recipes", nargs="+", default=None, help="some of the recipes; all by default")
    parser.add_argument("--results", type=Path, default=None, help="where they are kept")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a run")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="only print the table of what is finished")
    options = parser.parse_args(arguments)
    place: Path = options.results or RESULTS / f"{options.ladder}.json"
    results = read(place)
    rungs = [(file, recipe) for file, recipes in LADDERS[options.ladder].items() for recipe in recipes]
    if not options.table:
        missing = [
            (file, recipe, seed)
            for file, recipe in rungs
            if options.recipes is None or recipe in options.recipes
            for seed in options.seeds
            if str(seed) not in results.get(recipe, {})
        ]
        with ThreadPoolExecutor(options.workers) as pool:
            futures = {pool.submit(run, *one, options.threads): one for one in missing}
            failed = []
            for done in as_completed(futures):
                _, recipe, seed = futures[done]
                try:
                    results.setdefault(recipe, {})[str(seed)] = done.result()
                except subprocess.CalledProcessError:  # it has told why itself; the others go on
                    failed.append(f"{recipe} with seed {seed}")
                write(place, results)
        if failed:
            print(f"Failed, and left out: {', '.join(sorted(failed))}.", file=sys.stderr)
            return 1
    print(table(results, [recipe for _, recipe in rungs]))
    return 0


def run(file: str, recipe: str, seed: int, threads: int) -> dict[str, Any]:
    """The report of one run, with the commit that it was made at."""
    folder = launch(file, recipe, seed, threads)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    report["commit"] = json.loads((folder / "experiment.json").read_text())["machine"]["commit"]
    return report


def launch(file: str, recipe: str, seed: int, threads: int) -> Path:
    """Do one run in a process of its own, so that its peak memory is its own. Returns its folder."""
    command = [
        sys.executable,
        "-m",
        "domainmetric.cli",
        "run",
        f"{Path(__file__).parent / file}:{recipe}",
        f"--seed={seed}",
    ]
    command += ["--tracking.wandb=off", f"--runtime.threads={threads}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


def read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Finished reports by recipe and seed."""
    if not path.is_file():
        return {}
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text())
    return found


def write(path: Path, results: dict[str, Any]) -> None:
    """Keep the results, whole or not at all."""
    durable.make_folder(path.parent)
    durable.write(path, (json.dumps(results, indent=1) + "\n").encode())


def table(results: dict[str, dict[str, dict[str, Any]]], recipes: Sequence[str]) -> str:
    """Markdown: accuracy as mean, deviation, minimum and every seed; retrieval; training time."""
    head = (
        "recipe",
        "target test accuracy, %",
        "minimum",
        "each seed",
        "P@1, %",
        "MAP@R, %",
        "oracle gap",
        "training, s",
    )
    rows: list[Sequence[str]] = []
    for recipe in recipes:
        reports = [report for _, report in sorted(results.get(recipe, {}).items(), key=lambda one: int(one[0]))]
        if not reports:
            rows.append([f"`{recipe}`", "not run", *[""] * (len(head) - 2)])
            continue
        accuracy = [100 * report["target_accuracy"] for report in reports]
        cross = [report["retrieval"]["target_to_source"] for report in reports]
        gaps = [100 * report["selection"].get("gap_oracle", 0.0) for report in reports]
        cells = (
            f"`{recipe}`",
            spread(accuracy),
            f"{min(accuracy):.2f}",
            ", ".join(f"{value:.2f}" for value in accuracy),
            spread([100 * one["precision_at_1"] for one in cross]),
            spread([100 * one["map_at_r"] for one in cross]),
            f"{fmean(gaps):.2f}",
            f"{fmean(report['seconds'] for report in reports):.0f}",
        )
        rows.append(cells)
    return markdown(head, rows)


if __name__ == "__main__":
    sys.exit(main())
