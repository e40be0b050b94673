"""What is known to ruin a transfer, found in the figures: each with what was expected, what came and what to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from domainmetric.audit.facts import DataFacts, DomainFacts
from domainmetric.audit.measure import SetFacts

NARROW = 64
"""Images use 0 to 255; a set that spans less than this was probably scaled otherwise, such as to 0..1 or 0..16."""
MEAN_APART, SPREAD_APART, SPREAD_FAR = 32.0, 1.5, 4.0
"""Two splits of one domain differ in normalization where their means are further apart, or their deviations differ by
a larger factor. Between domains only the large factor counts: lighting differs, and images are standardized."""
POLARITY_SPLITS, POLARITY_DOMAINS = 0.3, 0.6
"""Shares of images with a light middle that are further apart are another polarity. Views of mixed polarity (0.5) serve
for either, so domains may be further apart than splits."""
REPEATED, BLANK, OVERLAP = 0.05, 0.01, 0.001
"""Shares of duplicates in a set, of blank images, and of a set that is found in another one."""
SHARES_APART = 0.1
"""Total variation distance of class shares: half the sum of the differences."""


def findings(facts: DataFacts, views: Mapping[str, SetFacts]) -> list[str]:
    """Every finding in a sentence or two. `views` are the figures of what the network sees, by side."""
    found: list[str] = []
    for domain in facts.domains.values():
        for split, figures in domain.splits.items():
            found += of_set(f"'{domain.name}' {split}", figures)
        found += between_splits(domain)
        found += of_classes(domain)
    found += between_domains(facts, views)
    return found


def of_set(what: str, figures: SetFacts) -> Iterator[str]:
    """What is odd about one set."""
    if figures.high - figures.low < NARROW:
        yield (
            f"{what}: its values span {figures.low}..{figures.high}, but images use 0..255. If they were floats in "
            "0..1 or of another range, scale them to 0..255 before they become bytes."
        )
    if figures.blank > BLANK * figures.count:
        yield f"{what}: {figures.blank:,} of {figures.count:,} images are of one value only. Leave them out."
    if figures.duplicates > REPEATED * figures.count:
        yield (
            f"{what}: {figures.duplicates:,} of {figures.count:,} images repeat another one exactly. What is held out "
            "is then trained on, too. Leave the repetitions out."
        )


def between_splits(domain: DomainFacts) -> Iterator[str]:
    """What differs between training and test of one domain, though it should not."""
    train, test = domain.splits["train"], domain.splits["test"]
    name = f"'{domain.name}'"
    if domain.overlap > OVERLAP * test.count:
        yield (
            f"{name}: {domain.overlap:,} of {test.count:,} test images are in the training split, too, so test figures "
            "are too good. Split it anew, without repetitions."
        )
    spread = ratio(train.deviation, test.deviation)
    if abs(train.mean - test.mean) > MEAN_APART or spread > SPREAD_APART:
        yield (
            f"{name}: training images have mean {train.mean:.0f} and deviation {train.deviation:.0f}, test images "
            f"{test.mean:.0f} and {test.deviation:.0f}. Were they normalized in the same way?"
        )
    if abs(train.light_middle - test.light_middle) > POLARITY_SPLITS:
        yield (
            f"{name}: the middle is lighter than the border in {train.light_middle:.0%} of the training images, but in "
            f"{test.light_middle:.0%} of the test images. Is one of the splits inverted?"
        )


def of_classes(domain: DomainFacts) -> Iterator[str]:
    """What is wrong with the classes of a labelled domain."""
    if domain.class_counts is None:
        return
    for split, counts in domain.class_counts.items():
        missing = [name for name, count in zip(domain.classes, counts, strict=True) if not count]
        if missing:
            yield (
                f"'{domain.name}' {split}: no image of class {', '.join(missing)}. Nothing can be learned or told of "
                "it: add images, or leave the class out of both domains."
            )
    apart = shares_apart(*domain.class_counts.values())
    if apart > SHARES_APART:
        yield (
            f"'{domain.name}': the class shares of training and test differ by {apart:.0%} (total variation). "
            "Accuracies on both are then no measure of the same thing."
        )


def between_domains(facts: DataFacts, views: Mapping[str, SetFacts]) -> Iterator[str]:
    """What keeps the two domains apart, or lets one leak into the other."""
    source, target = facts.domains["source"], facts.domains["target"]
    smaller = min(sum(figures.count for figures in domain.splits.values()) for domain in (source, target))
    if facts.shared > OVERLAP * smaller:
        yield (
            f"'{source.name}' and '{target.name}' have {facts.shared:,} images in common. The labels of the source "
            "tell those of the target: the figures of the transfer mean nothing. Leave them out of one domain."
        )
    seen, met = views["source"], views["target"]
    if abs(seen.light_middle - met.light_middle) > POLARITY_DOMAINS:
        yield (
            f"The middle is lighter than the border in {seen.light_middle:.0%} of the views of '{source.name}', but in "
            f"{met.light_middle:.0%} of those of '{target.name}': another polarity. Show the source both ways, with "
            "Augment(invert=0.5)."
        )
    if ratio(seen.deviation, met.deviation) > SPREAD_FAR:
        yield (
            f"Values deviate by {seen.deviation:.0f} in the views of '{source.name}', but by {met.deviation:.0f} in "
            f"those of '{target.name}' (of 255): another normalization. Bring both to the range 0..255."
        )


def of_target_oracle(facts: DataFacts, counts: Mapping[str, Sequence[int]]) -> list[str]:
    """What the target's labels tell, where they are there. Oracle: for `inspect` alone, and never for a run."""
    source, target = facts.domains["source"], facts.domains["target"]
    found = []
    for split, row in counts.items():
        missing = [name for name, count in zip(target.classes, row, strict=True) if not count]
        if missing:
            found.append(f"'{target.name}' {split} (oracle): no image of class {', '.join(missing)}.")
    if source.class_counts is not None and any(counts.get("train", ())):
        apart = shares_apart(source.class_counts["train"], counts["train"])
        if apart > SHARES_APART:
            found.append(
                f"The class shares of '{source.name}' and '{target.name}' differ by {apart:.0%} (oracle, total "
                "variation). Alignment of whole domains then pulls frequent classes onto rare ones."
            )
    return found


def shares_apart(one: Sequence[int], other: Sequence[int]) -> float:
    """Total variation distance, in [0, 1], of two sets' class shares."""
    sums = max(1, sum(one)), max(1, sum(other))
    return 0.5 * sum(abs(a / sums[0] - b / sums[1]) for a, b in zip(one, other, strict=True))


def ratio(one: float, other: float) -> float:
    """The larger over the smaller; infinite where one of them alone is zero."""
    low, high = sorted((one, other))
    return high / low if low > 0 else (1.0 if high == 0 else float("inf"))
