"""Table and figures of `experiments.negatives_per_update`, as functions of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, color, new_figure, save, tidy
from experiments.lab import COLLAPSED
from experiments.tables import markdown, spread

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""By arm the result of each seed."""
Times = Mapping[str, Mapping[str, Sequence[float]]]
"""By what is timed and by arm the milliseconds of each round."""
COUNTS = {"offered": "offered to the loss", "with_gradient": "with a gradient", "effective": "effective, by weight"}
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))


def write(folder: Path, stem: str, results: Results, times: Times, lrs: Mapping[str, float]) -> str:
    """Save the table and the figures, and return the table."""
    text = table(results, times, lrs)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.md").write_text(text + "\n")
    save(costs(results, times), folder / f"{stem}_negatives.png")
    save(recalls(results, times), folder / f"{stem}_recall.png")
    save(shares(results), folder / f"{stem}_active.png")
    return text


def whole_step(times: Times) -> Mapping[str, Sequence[float]]:
    """The milliseconds of a whole update, by arm."""
    return next(by_arm for what, by_arm in times.items() if what.startswith("whole step"))


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, half, high = quantiles(values, n=4)
    return low, half, high


def paired(times: Times, arm: str) -> float:
    """How many times as long as the first arm's step an arm's step takes: the median over the rounds."""
    steps = whole_step(times)
    first = next(iter(steps.values()))
    return median(own / other for own, other in zip(steps[arm], first, strict=True))


def curve(result: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    """Steps and Recall@1 in percent of one run."""
    points = sorted((int(step), 100 * value) for step, value in result["recall"].items())
    return [step for step, _ in points], [value for _, value in points]


def after_equal_time(results: Results, times: Times) -> dict[str, list[float]]:
    """Recall@1 in percent of each seed, when the arm with the cheapest step has made all of its steps."""
    cost = {arm: middle(values)[1] for arm, values in whole_step(times).items()}
    cheapest = min(cost.values())
    reached = {}
    for arm, seeds in results.items():
        curves = [curve(seed) for seed in seeds]
        reached[arm] = [float(np.interp(steps[-1] * cheapest / cost[arm], steps, values)) for steps, values in curves]
    return reached


def count(seeds: Sequence[Mapping[str, Any]], when: str, what: str) -> float:
    """A count of negatives, as a mean over the seeds."""
    return fmean(seed["negatives"][when][what] for seed in seeds)


def table(results: Results, times: Times, lrs: Mapping[str, float]) -> str:
    """Markdown: one line for each arm."""
    heads = ["arm", "lr", *(f"negatives {what} (before, after)" for what in COUNTS.values())]
    heads += [f"{what}, ms (quartiles)" for what in times]
    heads += [f"step against {next(iter(results))}, paired"]
    heads += ["Recall@1 after equal steps, %", "after equal time, %", "active share, first to last look", "collapsed"]
    rows: list[list[str]] = []
    timed = after_equal_time(results, times)
    for arm, seeds in results.items():
        cells = [arm, f"{lrs[arm]:g}"]
        cells += [f"{count(seeds, 'before', what):.3g}, {count(seeds, 'after', what):.3g}" for what in COUNTS]
        for by_arm in times.values():
            low, half, high = middle(by_arm[arm])
            cells.append(f"{half:.2f} ({low:.2f}, {high:.2f})")
        cells.append(f"{paired(times, arm):.3f}")
        first, last = (100 * fmean(seed["own_share"][place] for seed in seeds) for place in (0, -1))
        collapsed = sum(seed["mean_cosine"] > COLLAPSED for seed in seeds)
        cells += [spread([100 * seed["recall_at_1"] for seed in seeds], 1), spread(timed[arm], 1)]
        cells += [f"{first:.1f}% to {last:.1f}%", f"{collapsed} of {len(seeds)}"]
        rows.append(cells)
    return markdown(heads, rows)


def costs(results: Results, times: Times) -> Figure:
    """How many negatives an anchor uses, and what a step costs: a row for each arm."""
    most = max(results, key=lambda arm: paired(times, arm))
    title = (
        f"Using all negatives costs little beside the encoder: the dearest step ({most}) takes "
        f"{paired(times, most) - 1:.0%} more than that of one random triplet for each anchor"
    )
    figure = new_figure(10.5, 4.4, title=title)
    left, right = figure.subplots(1, 2, sharey=True)
    tidy(
        left, title="Negatives of an anchor: before training (open) and after (filled)", x="negatives, mean of anchors"
    )
    tidy(right, title="Cost, one thread: median and quartiles", x="CPU milliseconds")
    rows = {arm: len(results) - place for place, arm in enumerate(results)}
    for index, (what, label) in enumerate(COUNTS.items()):
        for arm, seeds in results.items():
            y, first = rows[arm] + 0.22 * (1 - index), arm == next(iter(results))
            before, after = count(seeds, "before", what), count(seeds, "after", what)
            left.plot([before, after], [y, y], color=color(index), linewidth=1)
            left.plot(before, y, "o", markersize=5, markerfacecolor="white", color=color(index))
            left.plot(after, y, "o", markersize=5, color=color(index), label=label if first else None)
    left.set_xscale("symlog", linthresh=0.1)
    left.set_xlim(left=0)
    left.set_yticks(list(rows.values()), list(rows))
    for index, (what, by_arm) in enumerate(times.items()):
        for arm, values in by_arm.items():
            low, half, high = middle(values)
            right.errorbar(
                half, rows[arm] + 0.2 * (1.5 - index), xerr=[[half - low], [high - half]], fmt="os^D"[index % 4],
                markersize=4, color=color(index + 3), label=what if arm == next(iter(by_arm)) else None,
            )  # fmt: skip
    right.set_xscale("log")
    for axes in (left, right):
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(which="minor", length=0)
        legend_below(axes, 3 if axes is left else 4)
    return figure


def legend_below(axes: Axes, columns: int) -> None:
    """The legend under the axes, where it hides nothing."""
    style = {"frameon": False, "fontsize": SMALL_SIZE, "labelcolor": INK, "columnspacing": 1.0, "handletextpad": 0.3}
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, **style)


def recalls(results: Results, times: Times) -> Figure:
    """Recall@1 over steps and over time, each arm's mean and its seeds, with where it ended."""
    cost = {arm: middle(values)[1] for arm, values in whole_step(times).items()}
    final = {arm: fmean(100 * seed["recall_at_1"] for seed in seeds) for arm, seeds in results.items()}
    order = sorted(final, key=lambda arm: -final[arm])
    best, worst = order[0], order[-1]
    title = f"After equal steps {best} retrieves best ({final[best]:.1f}%), {worst} worst ({final[worst]:.1f}%)"
    figure = new_figure(11.5, 4.4, title=title)
    left, right = figure.subplots(1, 2, sharey=True)
    tidy(left, title="Equal steps", x="steps", y="Recall@1 on test images, %")
    tidy(right, title="Equal time: steps x median CPU time of a step", x="CPU seconds, one thread")
    for index, (arm, seeds) in enumerate(results.items()):
        curves = [curve(seed) for seed in seeds]
        steps, mean = curves[0][0], np.mean([values for _, values in curves], 0)
        for axes, scale in ((left, 1.0), (right, cost[arm] / 1000)):
            x = [step * scale for step in steps]
            for _, values in curves:
                axes.plot(x, values, color=color(index), linewidth=0.7, alpha=0.35)
            label = f"{arm}: {final[arm]:.1f}%" if axes is left else None
            axes.plot(x, mean, color=color(index), linewidth=1.8, label=label)
    end = min(cost.values()) / 1000 * curves[0][0][-1]
    right.axvline(end, color=QUIET, linewidth=0.9, linestyle=":")
    right.text(end, left.get_ylim()[0], "equal time ", fontsize=SMALL_SIZE, color=QUIET, ha="right", va="bottom")
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside right center",
        frameon=False,
        fontsize=SMALL_SIZE,
        labelcolor=INK,
        title="mean at the end",
        title_fontsize=SMALL_SIZE,
    )
    return figure


def shares(results: Results) -> Figure:
    """Share of active triplets over training under each selection, on the same batches, in the runs of some arms."""
    arms = [arm for arm in results if arm.startswith("triplet")]
    chosen = next(iter(arms))
    ends = {
        name: fmean(100 * list(seed["shares"][name].values())[-1] for seed in results[chosen])
        for name in results[chosen][0]["shares"]
    }
    first = fmean(100 * next(iter(seed["shares"]["random"].values())) for seed in results[chosen])
    title = (
        f"Trained on random triplets, {ends['random']:.0f}% of random triplets are still active at the end "
        f"({first:.0f}% at first), but {ends['HPHN']:.0f}% of batch-hard ones"
    )
    figure = new_figure(2.5 * len(arms) + 0.6, 3.4, title=title)
    for axes, arm in zip(figure.subplots(1, len(arms), sharey=True, squeeze=False)[0], arms, strict=True):
        tidy(axes, title=f"trained on\n{arm}", x="steps", y="active triplets, % (each seed)" if arm == chosen else "")
        for index, name in enumerate(ends):
            for number, seed in enumerate(results[arm]):
                steps, values = zip(*((int(s), 100 * v) for s, v in seed["shares"][name].items()), strict=True)
                label = {"random": "random selection"}.get(name, name) if number == 0 else None
                axes.plot(steps, values, color=color(index), linewidth=1.1, linestyle=DASHES[index], label=label)
        axes.set_ylim(0, 103)
    figure.axes[0].legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    return figure
