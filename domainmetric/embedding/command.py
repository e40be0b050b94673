"""`domainmetric embed`, `match` and `export`: what a person asks of a trained metric, without a line of code."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from domainmetric import durable
from domainmetric.anchors.approximate import CellSearch
from domainmetric.anchors.search import ExactSearch
from domainmetric.embedding.embedder import Embedder, Found, match
from domainmetric.embedding.export import Export, Written
from domainmetric.embedding.files import Embedding
from domainmetric.embedding.rows import Rows, rows_of
from domainmetric.embedding.sheet import sheet
from domainmetric.errors import UsageError
from domainmetric.escaping import csv_cell
from domainmetric.models.network import DomainName
from domainmetric.recipes import names_of
from domainmetric.runner import read_experiment
from domainmetric.training.batches import data_root
from domainmetric.training.progress import Progress
from domainmetric.usage import file_option, only, option

EMBED = "embed RUN FOLDER -o FILE.npz|FILE.parquet [--domain target] [--reject 0.05] [--device auto] [--file FILE]"
MATCH = (
    "match RUN QUERIES GALLERY [-k 5] [-o matches.csv] [--html sheet.html] [--query-domain target] "
    "[--gallery-domain source] [--search exact|cells] [--device auto] [--file FILE]"
)
EXPORT = "export RUN [--onnx [FILE.onnx]] [--torch-export [FILE.pt2]] [--domain target] [--data-root DIR] [--file FILE]"
CHECKED = 1000
"""Images of the domain that an export is checked on."""


def embed(words: list[str]) -> Path:
    """Embed a folder of images into a file; interrupted, the same command goes on. Returns the file."""
    output, words = option(words, "-o")
    domain, words = side(words, "--domain")
    share, words = option(words, "--reject")
    embedder, words = loaded(words, EMBED, folders=1)
    if output is None:
        raise UsageError(f"Say where to: domainmetric {EMBED}")
    work = Embedding(
        embedder=embedder,
        folder=Path(words[0]),
        domain=domain or "target",
        output=Path(output),
        reject=None if share is None else fraction(share, "--reject"),
    )
    with counting("embed") as (begin, advance):
        return work.carry_out(begin, advance)


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What `match` left."""

    written: list[Path]
    """The table, and the sheet if asked for."""
    notes: list[str]
    """What is wrong with them."""


def matches(words: list[str]) -> Matched:
    """Find the gallery images most like each query.

    QUERIES and GALLERY are folders, images, or what `embed` wrote, which must be of the same run.
    """
    number, words = option(words, "-k")
    output, words = option(words, "-o")
    html, words = option(words, "--html")
    asking, words = side(words, "--query-domain")
    asked, words = side(words, "--gallery-domain")
    way, words = option(words, "--search")
    embedder, words = loaded(words, MATCH, folders=2)
    if way not in (None, "exact", "cells"):
        raise UsageError(f"--search must be exact or cells, but is '{way}'.")
    search = CellSearch() if way == "cells" else ExactSearch()
    if number is not None and not number.isdecimal():
        raise UsageError(f"-k must be a whole number, but is '{number}'.")
    sides: list[tuple[str, DomainName | None, DomainName]]
    sides = [(words[0], asking, "target"), (words[1], asked, "source")]
    rows = []
    for word, domain, default in sides:
        with counting(Path(word).name) as (begin, advance):
            rows.append(rows_of(embedder, Path(word), domain, default, begin, advance))
    queries, gallery = rows
    found = match(queries.z, gallery.z, k=5 if number is None else int(number), search=search)
    written, notes = [Path(output or "matches.csv")], []
    durable.write(written[0], table(queries, gallery, found).encode())
    if html is not None:
        made = sheet(queries, gallery, found)
        written.append(Path(html))
        durable.write(written[1], made.page.encode())
        notes += [made.note] if made.note else []
    return Matched(written=written, notes=notes)


def export(words: list[str]) -> list[Written]:
    """Write a run's network for other programs, after a check on images of the domain.

    An option without a file writes into the run folder.
    """
    onnx, words = file_option(words, "--onnx")
    torch_export, words = file_option(words, "--torch-export")
    named, words = side(words, "--domain")
    domain = named or "target"
    root, words = option(words, "--data-root")
    file, words = option(words, "--file")
    run = Path(only(words, EXPORT))
    values = {".onnx": onnx, ".pt2": torch_export}
    asked = {suffix: Path(value or run / f"network{suffix}") for suffix, value in values.items() if value is not None}
    if not asked:
        raise UsageError(f"Say what to write: domainmetric {EXPORT}")
    for suffix, path in asked.items():
        if path.suffix != suffix or not path.parent.is_dir():
            raise UsageError(f"The output must be a {suffix} file in a folder that is there, but is {path}.")
    names = names_of(file)
    embedder = Embedder.load(run, device="cpu", names=names)
    data = Path(root) if root else data_root(read_experiment(run, names))
    images = embedder.side(domain).load("train", root=data, size=embedder.image_size).images
    rows = torch.linspace(0, len(images) - 1, min(CHECKED, len(images))).long()
    work = Export(embedder=embedder, domain=domain, images=images[rows])
    write = {".onnx": work.onnx, ".pt2": work.torch_export}
    return [write[suffix](path) for suffix, path in asked.items()]


def table(queries: Rows, gallery: Rows, found: Found) -> str:
    """CSV: query, rank, match, similarity. A name that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["query", "rank", "match", "similarity"])
    for row, name in enumerate(queries.names):
        for rank, (place, cosine) in enumerate(zip(found.index[row], found.similarity[row], strict=True), start=1):
            writer.writerow([csv_cell(name), rank, csv_cell(gallery.names[place]), f"{cosine:.6f}"])
    return text.getvalue()


def fraction(word: str, name: str) -> float:
    """The share that an option names."""
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"{name} must be a number, but is '{word}'.") from None


def side(words: list[str], name: str) -> tuple[DomainName | None, list[str]]:
    """The domain that an option names, if it is there."""
    value, rest = option(words, name)
    known: dict[str | None, DomainName | None] = {None: None, "source": "source", "target": "target"}
    if value not in known:
        raise UsageError(f"{name} must be source or target, but is '{value}'.")
    return known[value], rest


def loaded(words: list[str], usage: str, *, folders: int) -> tuple[Embedder, list[str]]:
    """The run's embedder and the words behind it, of which there must be as many as `folders`."""
    device, words = option(words, "--device")
    file, words = option(words, "--file")
    if len(words) != folders + 1 or any(word.startswith("-") for word in words):
        raise UsageError(f"Usage: domainmetric {usage}")
    if device not in (None, "auto", "cpu", "cuda"):
        raise UsageError(f"--device must be auto, cpu or cuda, but is '{device}'.")
    place = {None: "auto", "auto": "auto", "cpu": "cpu", "cuda": "cuda"}[device]
    return Embedder.load(words[0], device=place, names=names_of(file)), words[1:]  # type: ignore[arg-type]


@contextmanager
def counting(name: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[int], None]]]:
    """A progress bar of images: what begins it, and what moves it on."""
    with Progress(unit="image") as progress:
        yield (lambda total, done: progress.phase(name, total, done)), (lambda more: progress.advance(num=more))
