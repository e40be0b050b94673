"""The audit for people: a table for the terminal, then what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from domainmetric.audit.facts import DataFacts
from domainmetric.audit.measure import SetFacts
from domainmetric.audit.record import SOUND, Audit
from domainmetric.data.domain import SPLITS

COLUMNS = ("", "images", "size", "range", "mean", "deviation", "channels", "light middle", "blank", "repeated")


def table(audit: Audit, target_counts_oracle: Mapping[str, Sequence[int]]) -> str:
    """The audit as text. `target_counts_oracle`: images of each class by split, where there are labels."""
    lines = aligned([COLUMNS, *set_rows(audit.facts, audit.views)])
    lines += ["", *in_common(audit.facts), "", *aligned(list(classes(audit.facts, target_counts_oracle)))]
    return "\n".join(lines)


def set_rows(facts: DataFacts, views: Mapping[str, SetFacts]) -> list[tuple[str, ...]]:
    """A row for each domain and split, and one for each domain's views."""
    sets = [(f"{domain.name} {split}", domain.splits[split]) for domain in facts.domains.values() for split in SPLITS]
    sets += [(f"{facts.domains[side].name} views", figures) for side, figures in views.items()]
    return [row(name, figures) for name, figures in sets]


def told(findings: Sequence[str]) -> str:
    """What was found, as a list."""
    return "\n".join(f"! {text}" for text in findings) if findings else SOUND


def row(name: str, figures: SetFacts) -> tuple[str, ...]:
    """One set's figures. Channels are given as mean and deviation of each."""
    channels = zip(figures.channel_means, figures.channel_deviations, strict=True)
    return (
        name,
        f"{figures.count:,}",
        "x".join(map(str, figures.size)),
        f"{figures.low}..{figures.high}",
        f"{figures.mean:.1f}",
        f"{figures.deviation:.1f}",
        ", ".join(f"{mean:.0f} ± {deviation:.0f}" for mean, deviation in channels),
        f"{figures.light_middle:.1%}",
        f"{figures.blank:,}",
        f"{figures.duplicates:,}",
    )


def in_common(facts: DataFacts) -> Iterator[str]:
    """Images that are in two places, in sentences."""
    for domain in facts.domains.values():
        yield f"{domain.name}: {domain.overlap:,} different images are in both training and test."
    yield f"Both domains: {facts.shared:,} different images are in both."


def classes(facts: DataFacts, target_counts_oracle: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, ...]]:
    """Images of each class and its share; those of the target are oracle."""
    source, target = facts.domains["source"], facts.domains["target"]
    columns: dict[str, Sequence[int]]
    columns = {f"{source.name} {split}": counts for split, counts in (source.class_counts or {}).items()}
    columns |= {f"{target.name} {split} (oracle)": counts for split, counts in target_counts_oracle.items()}
    yield ("class", *columns)
    for index, name in enumerate(source.classes):
        yield (name, *(f"{counts[index]:,} ({counts[index] / max(1, sum(counts)):.1%})" for counts in columns.values()))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of words as lines: the first column to the left, the others to the right."""
    plain = [[" ".join(word.split()) if word.isprintable() else repr(word) for word in words] for words in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]

    def line(words: Sequence[str]) -> str:
        first, *others = zip(words, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(word.rjust(width) for word, width in others)]).rstrip()

    return [line(words) for words in plain]
