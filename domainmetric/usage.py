"""Words of the command line: options taken out, fields named, complaints and reports put for people.

What is written here knows the form of tyro's messages, but not tyro.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domainmetric.errors import UsageError, nearest

if TYPE_CHECKING:
    from domainmetric.experiment import Experiment

QUOTED = r"'([^']*)'"
HELP = """\
domainmetric: cross-domain metric learning

  domainmetric run FILE[:RECIPE] [--field=value ...]   train and evaluate; prints the run folder on its last line
  domainmetric resume RUN [--file FILE]                continue an interrupted run; with --accept-changes even where
                                                       versions, threads, code or data have changed since
  domainmetric show RUN [--json]                       what a run reached
  domainmetric inspect FILE[:RECIPE] [--field=value ...] [-o SHEET.png]
                                                       what goes into a run: figures of both domains, what is known
                                                       to ruin a transfer, and a sheet of what the network sees
  domainmetric profile FILE[:RECIPE] [--field=value ...]   where the time of a step goes
  domainmetric ablate FILE[:ABLATION] [--seeds N | --seeds A B C] [--workers 2] [--folder FOLDER] [--field=value ...]
                                                       run named variants over seeds, and compare them;
                                                       --executor ray [--address HOST:PORT] [--gpus-per-run 0.25]
                                                       runs them on a Ray cluster, or on one started here;
                                                       --sweep FIELD=LOW:HIGH[:log] [--score NAME] writes a W&B
                                                       sweep of the baseline instead
  domainmetric report RUN_OR_ABLATION [-o PAGE.html] [--data-root DIR] [--file FILE]
                                                       one page to look into, and embeddings.parquet beside it

  domainmetric embed RUN FOLDER -o FILE.npz|FILE.parquet [--domain target] [--reject 0.05]
                                                       embeddings and classes of a folder of images; with --reject,
                                                       which are like no class, at that share of known ones lost
  domainmetric match RUN QUERIES GALLERY [-k 5] [-o matches.csv] [--html sheet.html] [--search exact|cells]
                                                       the gallery images most like each query, across the domains,
                                                       of folders or of files that embed wrote; cells: by FAISS, for
                                                       galleries of a million and more
  domainmetric export RUN [--onnx [FILE.onnx]] [--torch-export [FILE.pt2]] [--domain target] [--data-root DIR]
                                                       the network as one graph for other programs, from uint8 images
                                                       on that are framed as the domain's, checked on some of them;
                                                       without FILE as network.onnx or network.pt2 in RUN; torch
                                                       unpickles a part of a .pt2 when it loads it, ONNX is data alone

  domainmetric run FILE:RECIPE --help                  lists every field of the recipe
  --debug                                              anywhere: show tracebacks

Example: domainmetric run experiments/svhn_to_mnist.py:quick_full --seed=1
"""


def complaint(printed: str, words: list[str], default: Experiment) -> str:
    """Tyro's boxed message as a sentence: what is wrong, and what would be right."""
    lines = [line.strip("│╭╰╮╯ ") for line in printed.splitlines()[1:]]  # the first is a title
    ruled = " ".join(line if line.strip("─-") else "\n" for line in lines if line)  # ruled off by lines or dashes
    parts = [part.strip() for part in ruled.split("\n") if part.strip()]
    text = parts[0]
    unknown = re.match(r"Unrecognized options: (\S+)", text)
    if unknown and unknown[1].startswith("--"):
        name = unknown[1].partition("=")[0]
        return f"The recipe has no field {name}.{similar(name, [flag for flag, _ in fields(default)])}"
    if unknown:
        return f"'{unknown[1]}' is not understood: a field is changed with --field=value."
    choice = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.", text)
    if choice:
        value, field, choices = choice.groups()
        return f"{field} cannot be '{value}'.{nearest(value, re.findall(QUOTED, choices))}"
    field, _, reason = text.removeprefix("Error parsing ").partition(": ")
    if field.startswith("--"):
        came, _ = option(words, field)
        explained = next((part for part in parts if part.startswith("Argument helptext: ")), "")
        return f"{field} cannot be '{came}'. It is: {explained.removeprefix(f'Argument helptext: {field} ')}."
    return reason if text.startswith("Error parsing ") else text


def fields(value: Any, name: str = "-") -> Iterator[tuple[str, Any]]:
    """The flags of an experiment and their values: `--seed`, `--phases.source.optimizer.lr` and so on."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        inside = [(str(index), item) for index, item in enumerate(value)]
    else:
        yield name.replace("_", "-"), value
        return
    for key, item in inside:
        yield from fields(item, f"{name}-{key}" if name == "-" else f"{name}.{key}")


def similar(name: str, known: list[str]) -> str:
    """A sentence that names the fields most like `name`: of the same last part, or spelled alike."""
    last = name.removeprefix("--").rpartition(".")[2]
    alike = [field for field in known if field.removeprefix("--").rpartition(".")[2] == last]
    close = difflib.get_close_matches(name, alike or known, n=3, cutoff=0.0 if alike else 0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def option(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of `--name VALUE` or `--name=VALUE`, and the other words."""
    for index, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2], words[:index] + words[index + 1 :]
        if word == name:
            if index + 1 == len(words):
                raise UsageError(f"{name} needs a value.")
            return words[index + 1], words[:index] + words[index + 2 :]
    return None, words


def file_option(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of `--name FILE` or `--name=FILE`, "" for `--name` without one, and the other words.

    A folder that follows, such as a run, is not the value.
    """
    place = words.index(name) if name in words else len(words)
    after = words[place + 1 : place + 2]
    if place < len(words) and (not after or after[0].startswith("-") or Path(after[0]).is_dir()):
        return "", words[:place] + words[place + 1 :]
    return option(words, name)


def options(words: list[str], name: str) -> tuple[list[str], list[str]]:
    """All values of an option that may be given several times, and the other words."""
    values: list[str] = []
    while True:
        value, rest = option(words, name)
        if value is None:
            return values, rest
        values, words = [*values, value], rest


def numbers(words: list[str], name: str) -> tuple[list[int] | None, list[str]]:
    """The whole numbers of `--name 1 2 3` or `--name=1,2,3`, and the other words; None without the option."""
    index = next((i for i, word in enumerate(words) if word.partition("=")[0] == name), None)
    if index is None:
        return None, words
    end = index + 1
    while "=" not in words[index] and end < len(words) and not words[end].startswith("-"):
        end += 1
    found = words[index].partition("=")[2].split(",") if "=" in words[index] else words[index + 1 : end]
    try:
        values = [int(value) for value in found]
    except ValueError:
        raise UsageError(f"{name} takes whole numbers, but came with '{' '.join(found)}'.") from None
    if not values:
        raise UsageError(f"{name} needs a value.")
    return values, words[:index] + words[end:]


def number(words: list[str], name: str) -> tuple[int | None, list[str]]:
    """The whole number of `--name 1`, and the other words; None without the option."""
    values, rest = numbers(words, name)
    if values is not None and len(values) != 1:
        raise UsageError(f"{name} takes one number, but came with {len(values)}.")
    return (values[0] if values else None), rest


def fraction(words: list[str], name: str) -> tuple[float | None, list[str]]:
    """The number of `--name 0.25`, and the other words; None without the option."""
    text, rest = option(words, name)
    try:
        return (None if text is None else float(text)), rest
    except ValueError:
        raise UsageError(f"{name} takes a number, but came with '{text}'.") from None


def only(words: list[str], usage: str) -> str:
    """The one word that a command takes."""
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError(f"Usage: domainmetric {usage}")
    return words[0]


def summary(report: dict[str, Any]) -> str:
    """A run's report for people."""
    conditions = f"seed {report['seed']}, {report['device']}, {report['seconds']:.0f} s of training"
    rows = [
        ("recipe", f"{report['recipe']}, {conditions}"),
        *target_rows(report),
        ("source accuracy", f"{report['source_accuracy']:.2%} held out, {report['source_test_accuracy']:.2%} test"),
    ]
    if "gap_oracle" in report["selection"]:
        chosen = report["selection"]
        gap = f"oracle gap {100 * chosen['gap_oracle']:.2f} points"
        rows.append(("selection", f"{chosen['rule']}, step {chosen['step']}, {gap}"))
    if "anchors/precision_oracle" in report["anchors"]:
        rows.append(("anchors", f"match precision (oracle) {report['anchors']['anchors/precision_oracle']:.2%}"))
    if "confidence" in report:
        rows.append(("calibration error", calibration(report["confidence"])))
    if report.get("alarms"):
        told = ", ".join(f"{alarm['name']} at step {alarm['step']}" for alarm in report["alarms"])
        rows.append(("alarms", told))
    return "\n".join(f"{name:>17}  {text}" for name, text in rows)


def calibration(confidence: dict[str, Any]) -> str:
    """What calibration left of the error of the probabilities, and what it was before."""
    parts = []
    for side, word in (("source", ""), ("target", "_oracle")):
        found, error = confidence[side], f"calibration_error{word}"
        if error in found:
            before = found[f"calibration_error_uncalibrated{word}"]
            parts.append(f"{side}{word.replace('_', ' ')} {found[error]:.2%} (uncalibrated {before:.2%})")
    return ", ".join(parts)


def target_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a report tells of the target: with labels accuracy and retrieval, without them the scores that need none."""
    if "target_accuracy" not in report:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in report["selection"]["scores"].items())
        return [("target accuracy", "unknown: its test images have no labels"), ("label-free scores", scores)]
    heads = f"prototype {report['target_prototype_accuracy']:.2%}, k-NN {report['target_knn_accuracy']:.2%}"
    rows = [("target accuracy", f"{report['target_accuracy']:.2%} ({heads})")]
    for title, way in (("target -> source", "target_to_source"), ("source -> target", "source_to_target")):
        found = report["retrieval"][way]
        rows.append((title, f"P@1 {found['precision_at_1']:.2%}, MAP@R {found['map_at_r']:.2%}"))
    return rows
