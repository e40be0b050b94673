"""The command line: run, resume, show, inspect, profile, ablate, report, embed, match, export. Only it knows tyro.

Whatever goes wrong is told in one paragraph, with a traceback only under --debug. Exit status: 1 for a failure, 2 for
wrong usage, 130 for an interrupted run. Heavy imports happen inside the commands, so that help is immediate.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from domainmetric.errors import DataNotPrepared, DomainMetricError, Interrupted, RunFolderError, UsageError, nearest
from domainmetric.escaping import visible
from domainmetric.team.process import follows, told_elsewhere
from domainmetric.usage import HELP, complaint, only, option, summary

if TYPE_CHECKING:
    from domainmetric.experiment import Experiment

ACCEPT = "--accept-changes"


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
        return 0 if told_elsewhere(error) else explain(str(error), status(error), debug=debug)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return explain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.", 1, debug=debug)
    except Exception as error:
        if short_of_memory(error):
            short = f"there is not enough memory ({error}). Use smaller batches, banks or images."
            return explain(short, 1, debug=debug)
        unexpected = f"unexpected {type(error).__name__}: {error}. Run it again with --debug to see where it came from."
        return explain(unexpected, 1, debug=debug)


def explain(text: str, exit_status: int, *, debug: bool) -> int:
    """Print what went wrong as one paragraph, after the traceback where that is wanted. Returns the status."""
    if debug:
        traceback.print_exc()
    paragraph = textwrap.fill(visible(f"domainmetric: {text}"), 110, break_long_words=False, break_on_hyphens=False)
    print(paragraph, file=sys.stderr)
    return exit_status


def short_of_memory(error: Exception) -> bool:
    """Whether Python or torch could not get the memory that was asked for."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "can't allocate memory" in said or "out of memory" in said


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
        "inspect": inspect_command,
        "profile": profile_command,
        "report": report_command,
        "ablate": ablate_command,
        "embed": embed_command,
        "match": match_command,
        "export": export_command,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if words else 2
    if words[1:] and words[1] in ("-h", "--help") and words[0] in commands:  # the fields of a recipe need its file
        print(HELP, end="")
        return 0
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
        if "TORCHELASTIC_RUN_ID" in os.environ:  # each of torchrun's processes would
            raise
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
    print(visible(f"Prepared data is missing in {missing.root}; preparing {' and '.join(names)}."), file=sys.stderr)
    try:
        prepare_stores(names, Path(str(missing.root)))
    except DomainMetricError as error:
        raise DomainMetricError(f"{missing} It was tried just now, but: {error}") from error


def finish(folder: Path) -> None:
    """Say what a finished run reached, and its folder on the last line."""
    if not follows():
        print(visible(summary(json.loads((folder / "report.json").read_text()))))
        print(folder)


def resume_command(words: list[str]) -> None:
    """Continue a run."""
    file, rest = option(words, "--file")
    folder = only([word for word in rest if word != ACCEPT], f"resume RUN [--file FILE] [{ACCEPT}]")
    from domainmetric.recipes import names_of
    from domainmetric.runner import resume

    finish(resume(Path(folder), names_of(file), accept_changes=ACCEPT in rest))


def show_command(words: list[str]) -> None:
    """Print a run's report."""
    as_json = "--json" in words
    folder = Path(only([word for word in words if word != "--json"], "show RUN [--json]"))
    from domainmetric.training.checkpoint import read_json
    from domainmetric.training.folder import REPORT, check

    if not (check(folder) / REPORT).is_file():
        raise DomainMetricError(f"{folder} is not finished. Continue it with: domainmetric resume {folder}")
    report = read_json(folder / REPORT)
    try:
        text = json.dumps(report, indent=2) if as_json else visible(summary(report))
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{folder / REPORT} is damaged, or of another version: it lacks {error}.") from error
    print(text)


def profile_command(words: list[str]) -> None:
    """Print where a step's time goes."""
    experiment = parse_experiment("profile", words)
    from domainmetric.training.profile import profile

    print(profile(experiment))


def inspect_command(words: list[str]) -> None:
    """Print the audit of the data; the contact sheet is the last line of standard output."""
    sheet, rest = option(words, "-o")
    experiment = parse_experiment("inspect", rest)
    from domainmetric.audit.inspection import inspect

    place = Path(sheet) if sheet else None
    try:
        found = inspect(experiment, place)
    except DataNotPrepared as missing:
        prepare(experiment, missing)
        found = inspect(experiment, place)
    print(visible(found.text))
    print(found.sheet)


def report_command(words: list[str]) -> None:
    """Write the page of a run or an ablation; its file is the last line of standard output."""
    output, rest = option(words, "-o")
    data_root, rest = option(rest, "--data-root")
    file, rest = option(rest, "--file")
    folder = only(rest, "report RUN_OR_ABLATION [-o PAGE.html] [--data-root DIR] [--file FILE]")
    from domainmetric.recipes import names_of
    from domainmetric.report.build import make

    made = make(
        Path(folder),
        output=Path(output) if output else None,
        data_root=Path(data_root) if data_root else None,
        names=names_of(file),
    )
    for note in made.notes:
        print(note, file=sys.stderr)
    for path in filter(None, (made.embeddings, made.page)):
        print(path)


def embed_command(words: list[str]) -> None:
    """Embed a folder of images; the file is the last line of standard output."""
    from domainmetric.embedding.command import embed

    print(embed(words))


def match_command(words: list[str]) -> None:
    """Match images across the domains; the files are the last lines of standard output."""
    from domainmetric.embedding.command import matches

    made = matches(words)
    for note in made.notes:
        print(visible(note), file=sys.stderr)
    for path in made.written:
        print(path)


def export_command(words: list[str]) -> None:
    """Write a run's network for other programs; the files are the last lines of standard output."""
    from domainmetric.embedding.command import export
    from domainmetric.embedding.export import TOLERANCE

    written = export(words)
    for made in written:
        print(f"{made.path.name}: as the run's own network to {made.difference:.1e} ({TOLERANCE:.0e} is allowed)")
    print(visible(f"Takes {written[0].expects}."))
    for made in written:
        print(made.path)


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
    from rich.console import Console

    from domainmetric.ablation.command import Request

    request = Request.read(words, change=changed)
    if request.ranges:
        print(request.write_sweep(python=sys.executable))
        return
    try:
        outcome = request.carry_out()
    except DataNotPrepared as missing:
        prepare(next(iter(request.ablation.variants.values())), missing)
        outcome = request.carry_out()
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 140)  # a file has room
    for sheet in outcome.sheets:
        screen.print(sheet.screen())
    if outcome.problem is not None:
        raise outcome.problem
    print(request.ablation.folder)


if __name__ == "__main__":
    sys.exit(main())
