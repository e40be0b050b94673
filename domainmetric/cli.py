"""The command line: run, resume, show, profile, ablate. The only file that knows tyro.

Whatever goes wrong is told in one paragraph, with a traceback only under --debug. Exit status: 1 for a failure, 2 for
wrong usage, 130 for an interrupted run. Heavy imports happen inside the commands, so that help is immediate.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from domainmetric.errors import ConfigError, DataNotPrepared, DomainMetricError, Interrupted, UsageError, nearest
from domainmetric.usage import complaint, numbers, only, option, summary

if TYPE_CHECKING:
    from domainmetric.ablation.engine import Outcome
    from domainmetric.experiment import Experiment

HELP = """\
domainmetric: cross-domain metric learning

  domainmetric run FILE[:RECIPE] [--field=value ...]   train and evaluate; prints the run folder on its last line
  domainmetric resume RUN [--file FILE]                continue an interrupted run
  domainmetric show RUN [--json]                       what a run reached
  domainmetric profile FILE[:RECIPE] [--field=value ...]   where the time of a step goes
  domainmetric ablate FILE[:ABLATION] [--seeds N | --seeds A B C] [--workers 2] [--folder FOLDER] [--field=value ...]
                                                       run named variants over seeds, and compare them
  domainmetric report RUN_OR_ABLATION [-o PAGE.html] [--data-root DIR] [--file FILE]
                                                       one page to look into, and embeddings.parquet beside it

  domainmetric run FILE:RECIPE --help                  lists every field of the recipe
  --debug                                              anywhere: show tracebacks

Example: domainmetric run experiments/svhn_to_mnist.py:quick_full --seed=1
"""
OF_THE_ABLATION = {
    "--seed": "every variant is run with each of --seeds.",
    "--name": "runs are called after their variants.",
    "--runs-root": "runs lie in the folder of the ablation; say which with --folder.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with warnings.catch_warnings():
            # torchmetrics 0.9.3, which pytorch-adapt pins, imports it; nothing that a user could act on
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
            return dispatch(words)
    except KeyboardInterrupt:
        return explain("interrupted.", 130, debug=debug)
    except DomainMetricError as error:
        return explain(str(error), status(error), debug=debug)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return explain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.", 1, debug=debug)
    except Exception as error:
        unexpected = f"unexpected {type(error).__name__}: {error}. Run it again with --debug to see where it came from."
        return explain(unexpected, 1, debug=debug)


def explain(text: str, exit_status: int, *, debug: bool) -> int:
    """Print what went wrong as one paragraph, after the traceback where that is wanted. Returns the status."""
    if debug:
        traceback.print_exc()
    paragraph = textwrap.fill(f"domainmetric: {text}", 110, break_long_words=False, break_on_hyphens=False)
    print(paragraph, file=sys.stderr)
    return exit_status


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
        "report": report_command,
        "ablate": ablate_command,
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
    from domainmetric.runner import run

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
    from domainmetric.recipes import load_file
    from domainmetric.runner import resume
    from domainmetric.serialize import user_names

    names = user_names(vars(load_file(Path(file)))) if file else None
    finish(resume(Path(folder), names))


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


def report_command(words: list[str]) -> None:
    """Write the page of a run or an ablation; its file is the last line of standard output."""
    output, rest = option(words, "-o")
    data_root, rest = option(rest, "--data-root")
    file, rest = option(rest, "--file")
    folder = only(rest, "report RUN_OR_ABLATION [-o PAGE.html] [--data-root DIR] [--file FILE]")
    from domainmetric.recipes import load_file
    from domainmetric.report.build import make
    from domainmetric.serialize import user_names

    made = make(
        Path(folder),
        output=Path(output) if output else None,
        data_root=Path(data_root) if data_root else None,
        names=user_names(vars(load_file(Path(file)))) if file else None,
    )
    for note in made.notes:
        print(note, file=sys.stderr)
    for path in filter(None, (made.embeddings, made.page)):
        print(path)


def parse_experiment(command: str, words: list[str]) -> Experiment:
    """The recipe, with the fields that the command line changes. Raises UsageError, or SystemExit(0) after help."""
    if not words or words[0].startswith("-"):
        raise UsageError(f"Say which recipe: domainmetric {command} FILE[:RECIPE] [--field=value ...].")
    from domainmetric.recipes import call_recipe, find_recipe

    recipe = find_recipe(words[0])
    program = f"domainmetric {command} {words[0]}"
    return changed(call_recipe(recipe, words[0]), words[1:], program, recipe.__doc__ or "")


def changed(default: Experiment, words: list[str], program: str, about: str) -> Experiment:
    """The experiment with the fields that `words` change. Raises UsageError, or SystemExit(0) after help."""
    import tyro

    config = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
    about = f"{about}\n\nParts that are classes are exchanged in a recipe, by replace()."
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(type(default), default=default, args=words, prog=program, description=about, config=config)
    except SystemExit as end:
        if not end.code:
            raise
        raise UsageError(f"{complaint(printed.getvalue(), words, default)} All fields: {program} --help") from None


def ablate_command(words: list[str]) -> None:
    """Run an ablation's variants over its seeds, and print the tables."""
    if not words or words[0].startswith("-"):
        raise UsageError("Say which ablation: domainmetric ablate FILE[:ABLATION] [--seeds 5] [--field=value ...].")
    typed = shlex.join(["domainmetric", "ablate", *words])
    seeds, rest = numbers(words[1:], "--seeds")
    workers, rest = numbers(rest, "--workers")
    folder, rest = option(rest, "--folder")
    if workers is not None and len(workers) != 1:
        raise UsageError("--workers takes one number: how many runs go on at a time.")
    from rich.console import Console

    from domainmetric.ablation.engine import ablate
    from domainmetric.ablation.plan import Ablation
    from domainmetric.recipes import call_ablation, find_ablation
    from domainmetric.serialize import user_names

    module, function = find_ablation(words[0])
    ablation = Ablation(
        name=function.__name__,
        folder=Path(folder or f"ablations/{function.__name__}"),
        variants=variants(call_ablation(function, words[0]), rest, f"domainmetric ablate {words[0]}", function.__doc__),
        seeds=tuple(range(seeds[0]) if seeds and len(seeds) == 1 else seeds or range(5)),
    )

    def go_on() -> Outcome:
        return ablate(
            ablation,
            file=Path(words[0].partition(":")[0]),
            names=user_names(vars(module)),
            workers=workers[0] if workers else 2,
            command=typed,
            tell=lambda text: print(textwrap.fill(text, 110), file=sys.stderr),
        )

    try:
        outcome = go_on()
    except DataNotPrepared as missing:
        prepare(next(iter(ablation.variants.values())), missing)
        outcome = go_on()
    screen = Console(highlight=False)
    for sheet in outcome.sheets:
        screen.print(sheet.screen())
    if outcome.problem is not None:
        raise outcome.problem
    print(ablation.folder)


def variants(
    experiments: dict[str, Experiment], words: list[str], program: str, about: str | None
) -> dict[str, Experiment]:
    """All variants of an ablation with the fields that `words` change in each of them."""
    for word in words:
        for field, instead in OF_THE_ABLATION.items():
            if word.partition("=")[0] == field:
                raise UsageError(f"{field} is not a field to change in an ablation: {instead}")
    result = {}
    for name, experiment in experiments.items():
        try:
            result[name] = changed(experiment, words, program, about or "")
        except (UsageError, ConfigError) as error:
            raise UsageError(f"In the variant '{name}': {error}") from error
    return result


if __name__ == "__main__":
    sys.exit(main())
