"""The command line: run, resume, show, profile. The only file that knows tyro.

Errors that domainmetric raises on purpose are printed as one paragraph; status 1 for them, 2 for wrong usage, 130 for
an interrupted run. Heavy imports happen inside the commands, so that help is immediate.
"""

from __future__ import annotations

import json
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domainmetric.errors import DataNotPrepared, DomainMetricError, Interrupted, UsageError, nearest

if TYPE_CHECKING:
    from domainmetric.experiment import Experiment

HELP = """\
domainmetric: cross-domain metric learning

  domainmetric run FILE[:RECIPE] [--field=value ...]   train and evaluate; prints the run folder on its last line
  domainmetric resume RUN [--file FILE]                continue an interrupted run
  domainmetric show RUN [--json]                       what a run reached
  domainmetric profile FILE[:RECIPE] [--field=value ...]   where the time of a step goes

  domainmetric run FILE:RECIPE --help                  lists every field of the recipe
  --debug                                              anywhere: show tracebacks

Example: domainmetric run experiments/svhn_to_mnist.py:quick_full --seed=1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return dispatch(words)
    except DomainMetricError as error:
        if debug:
            traceback.print_exc()
        print(
            textwrap.fill(f"domainmetric: {error}", 110, break_long_words=False, break_on_hyphens=False),
            file=sys.stderr,
        )
        return status(error)
    except KeyboardInterrupt:
        print("domainmetric: interrupted.", file=sys.stderr)
        return 130


def status(error: DomainMetricError) -> int:
    """Exit status of an error."""
    if isinstance(error, UsageError):
        return 2
    return 130 if isinstance(error, Interrupted) else 1


def dispatch(words: list[str]) -> int:
    """Carry out one command."""
    commands: dict[str, Callable[[list[str]], None]] = {
        "run": run_command,
        "resume": resume_command,
        "show": show_command,
        "profile": profile_command,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if words else 2
    if words[0] not in commands:
        raise UsageError(f"There is no command '{words[0]}'.{nearest(words[0], commands)}")
    commands[words[0]](words[1:])
    return 0


def run_command(words: list[str]) -> None:
    """Run a recipe; its folder is the last line of standard output, alone."""
    experiment = parse_experiment("run", words)
    from domainmetric.run import run

    try:
        folder = run(experiment)
    except DataNotPrepared as missing:
        prepare(experiment, missing)
        folder = run(experiment)
    finish(folder)


def prepare(experiment: Experiment, missing: DataNotPrepared) -> None:
    """Download and prepare the pair's data, where that is possible; otherwise raise what was missing."""
    try:
        from data_prep import prepare as prepare_stores
        from data_prep.official import known_datasets
    except ImportError:
        raise missing from None
    names = [d.name for d in (experiment.data.source, experiment.data.target) if d.name in known_datasets()]
    if missing.domain not in names:
        raise missing
    print(f"Prepared data is missing in {missing.root}; preparing {' and '.join(names)}.", file=sys.stderr)
    try:
        prepare_stores(names, Path(str(missing.root)))
    except DomainMetricError as error:
        raise DomainMetricError(f"{missing} It was tried just now, but: {error}") from error


def finish(folder: Path) -> None:
    """Say what a finished run reached, and its folder on the last line."""
    print(summary(json.loads((folder / "report.json").read_text())))
    print(folder)


def resume_command(words: list[str]) -> None:
    """Continue a run."""
    file, rest = option(words, "--file")
    folder = only(rest, "resume RUN [--file FILE]")
    import domainmetric.run as runs
    from domainmetric.recipes import load_file
    from domainmetric.serialize import user_classes

    classes = user_classes(vars(load_file(Path(file)))) if file else None
    finish(runs.resume(Path(folder), classes))


def show_command(words: list[str]) -> None:
    """Print a run's report."""
    as_json = "--json" in words
    folder = Path(only([word for word in words if word != "--json"], "show RUN [--json]"))
    from domainmetric.training.checkpoint import read_json
    from domainmetric.training.folder import REPORT, check

    if not (check(folder) / REPORT).is_file():
        raise DomainMetricError(f"{folder} is not finished. Continue it with: domainmetric resume {folder}")
    report = read_json(folder / REPORT)
    print(json.dumps(report, indent=2) if as_json else summary(report))


def profile_command(words: list[str]) -> None:
    """Print where a step's time goes."""
    experiment = parse_experiment("profile", words)
    from domainmetric.training.profile import profile

    print(profile(experiment))


def parse_experiment(command: str, words: list[str]) -> Experiment:
    """The recipe, with the fields that the command line changes."""
    targets = [word for word in words if not word.startswith("-")]
    if not words or not targets or words[0].startswith("-"):
        raise UsageError(f"Say which recipe: domainmetric {command} FILE[:RECIPE] [--field=value ...].")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        from domainmetric.recipes import load_recipe

        default = load_recipe(words[0])
    import tyro

    config = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
    program = f"domainmetric {command} {words[0]}"
    try:
        return tyro.cli(type(default), default=default, args=words[1:], prog=program, config=config)
    except SystemExit as end:
        if end.code:
            raise UsageError(f"The fields above do not fit the recipe; list them with: {program} --help") from None
        raise


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


def only(words: list[str], usage: str) -> str:
    """The one word that a command takes."""
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError(f"Usage: domainmetric {usage}")
    return words[0]


def summary(report: dict[str, Any]) -> str:
    """A run's report for people."""
    cross, back = report["retrieval"]["target_to_source"], report["retrieval"]["source_to_target"]
    rows = [
        (
            "recipe",
            f"{report['recipe']}, seed {report['seed']}, {report['device']}, {report['seconds']:.0f} s of training",
        ),
        (
            "target accuracy",
            f"{report['target_accuracy']:.2%} (prototype {report['target_prototype_accuracy']:.2%}, "
            f"k-NN {report['target_knn_accuracy']:.2%})",
        ),
        ("source accuracy", f"{report['source_accuracy']:.2%} held out, {report['source_test_accuracy']:.2%} test"),
        ("target -> source", f"P@1 {cross['precision_at_1']:.2%}, MAP@R {cross['map_at_r']:.2%}"),
        ("source -> target", f"P@1 {back['precision_at_1']:.2%}, MAP@R {back['map_at_r']:.2%}"),
    ]
    if "gap_oracle" in report["selection"]:
        chosen = report["selection"]
        rows.append(
            (
                "selection",
                f"{chosen['rule']}, step {chosen['step']}, oracle gap {100 * chosen['gap_oracle']:.2f} points",
            )
        )
    if "anchors/precision_oracle" in report["anchors"]:
        rows.append(("anchors", f"match precision (oracle) {report['anchors']['anchors/precision_oracle']:.2%}"))
    return "\n".join(f"{name:>17}  {text}" for name, text in rows)


if __name__ == "__main__":
    sys.exit(main())
