"""What an ablation refuses before anything runs, and how runs are found again by their content."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domainmetric import AllLabels, Nearest, Oracle, PixelNearest, RandomAnchors, SklearnDigits, StreetDigits
from domainmetric.ablation import runs
from domainmetric.ablation.command import seeds_of
from domainmetric.ablation.comparison import MOST_SEEDS
from domainmetric.ablation.engine import check_names, conclude, opening, problem, with_found
from domainmetric.ablation.executor import Work
from domainmetric.ablation.plan import Ablation, Job
from domainmetric.ablation.record import RECORD, write_record
from domainmetric.data.pair import Pair
from domainmetric.errors import ConfigError
from domainmetric.experiment import Experiment
from domainmetric.recipes import load_file
from domainmetric.runner import new_folder
from domainmetric.serialize import user_names
from tests import tiny
from tests.ablation.rows import finish, report

NAMES = user_names(vars(tiny))


def base(**fields: Any) -> Experiment:
    return replace(tiny.experiment(Path("runs"), "triplet", source_steps=3, adapt_steps=4), **fields)


def ablation(folder: Path, variants: dict[str, Experiment] | None = None, **fields: Any) -> Ablation:
    variants = variants or {"nearest": base(), "pixel": base(anchors=PixelNearest())}
    return Ablation(**{"name": "mine", "folder": folder, "variants": variants, "seeds": (0, 1), **fields})


def test_the_baseline_is_the_first_unless_one_is_called_so(tmp_path: Path) -> None:
    assert ablation(tmp_path).baseline == "nearest"
    assert ablation(tmp_path, {"other": base(), "baseline": base()}).baseline == "baseline"


@pytest.mark.parametrize("name", ["", ".", "../up", "a/b", "-dash", ".hidden", "a b", "x" * 81, "line\n", "a:b"])
def test_names_that_no_folder_can_bear(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives its name to run folders"):
        ablation(tmp_path, {name: base()})


@pytest.mark.parametrize("name", ["nearest", "base+info_max", "dann+mmd", "k=5", "0.5", "größe(2,3)"])
def test_names_that_one_can(name: str, tmp_path: Path) -> None:
    assert ablation(tmp_path, {name: base()}).baseline == name


def test_a_name_that_a_csv_file_would_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'\+info_max' begins with a \+, .* Put a word before it, such as 'base\+info"
    ):
        ablation(tmp_path, {"nearest": base(), "+info_max": base()})


def test_more_seeds_than_a_test_takes_are_refused_before_any_run(tmp_path: Path) -> None:
    assert len(ablation(tmp_path, seeds=tuple(range(MOST_SEEDS))).seeds) == 40
    with pytest.raises(ConfigError, match=r"at most 40 seeds.* there are 41\. .*One number after --seeds is a count"):
        ablation(tmp_path, seeds=tuple(range(41)))
    with pytest.raises(ConfigError, match="there are 2000000000"):
        seeds_of([2_000_000_000])
    assert (seeds_of([3]), seeds_of([7, 9]), seeds_of(None)) == ((0, 1, 2), (7, 9), (0, 1, 2, 3, 4))


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_wrong_seeds(seeds: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Seeds must be different numbers from 0 up"):
        ablation(tmp_path, seeds=seeds)


def test_other_domains_do_not_compare(tmp_path: Path) -> None:
    same = base(data=Pair(source=tiny.Colored(), target=tiny.Colored()))
    with pytest.raises(ConfigError, match="'same' is about colored -> colored, but the baseline 'a' about"):
        ablation(tmp_path, {"a": base(), "same": same})


def test_the_same_experiment_under_two_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'a' and 'b' are the same experiment"):
        ablation(tmp_path, {"a": base(), "b": base(name="other")}).jobs(1)


def test_jobs_share_the_source_phase_of_their_seed(tmp_path: Path) -> None:
    jobs = ablation(tmp_path).jobs(1)
    assert [(job.variant, job.seed) for job in jobs] == [("nearest", 0), ("nearest", 1), ("pixel", 0), ("pixel", 1)]
    by_seed = {seed: {job.source for job in jobs if job.seed == seed} for seed in (0, 1)}
    assert all(len(found) == 1 and None not in found for found in by_seed.values())
    assert by_seed[0] != by_seed[1]
    assert len({job.content for job in jobs}) == 4
    longer = replace(base(), phases={**base().phases, "source": replace(base().phases["source"], steps=5)})
    one, *_, other = ablation(tmp_path, {"a": base(), "b": longer}, seeds=(0,)).jobs(1)
    assert one.source != other.source


def test_runs_of_one_ablation_share_group_and_tags_and_are_called_after_their_variant(tmp_path: Path) -> None:
    jobs = ablation(tmp_path / "group").jobs(2)
    assert {(job.experiment.tracking.group, job.experiment.tracking.tags) for job in jobs} == {
        ("group", ("ablation", "mine"))
    }
    assert [job.experiment.name for job in jobs[::2]] == ["nearest", "pixel"]
    assert jobs[0].experiment.runs_root == tmp_path / "group" / "runs"
    assert jobs[0].experiment.runtime.threads == 1  # as the recipe says
    free = replace(base(), runtime=replace(base().runtime, threads=None))
    assert ablation(tmp_path, {"free": free}).jobs(2)[0].experiment.runtime.threads == 2


def test_runs_are_found_by_content_whatever_they_are_called(tmp_path: Path) -> None:
    before = ablation(tmp_path, {"old": base(), "begun": base(anchors=RandomAnchors())}, seeds=(0,))
    done, begun = (new_folder(job.experiment) for job in before.jobs(1))
    (done / "report.json").write_text("{}")
    variants = {"new": base(), "begun": base(anchors=RandomAnchors()), "pixel": base(anchors=PixelNearest())}
    now = ablation(tmp_path, variants, seeds=(0,))
    jobs = now.jobs(1)
    found = runs.find(tmp_path / "runs", jobs, NAMES)
    assert {job.variant: found[job.content].folder for job in jobs if job.content in found} == {
        "new": done,
        "begun": begun,
    }
    works = with_found(jobs, found)
    assert [work.status for work in works] == ["finished", "interrupted", "missing"]
    told = opening(now, works, "2 at a time")
    assert "3 variants x 1 seeds = 3 runs, of which 1 finished, 1 to be continued, 1 to be run; 2 at a time" in told
    assert "Too few seeds for a test" in told


def test_what_changes_a_result_changes_the_content(tmp_path: Path) -> None:
    (one,) = ablation(tmp_path, {"a": base()}, seeds=(0,)).jobs(1)
    same = base(name="b", runtime=replace(base().runtime, checkpoint_every=7), data_root=Path("elsewhere"))
    others = [
        base(anchors=Nearest(k=3)),
        base(image_size=16, source_validation=0.2),
        base(data=tiny.pair(label_noise=1)),
    ]
    contents = [ablation(tmp_path, {"a": other}, seeds=(0,)).jobs(1)[0].content for other in (same, *others)]
    assert contents[0] == one.content
    assert len({one.content, *contents[1:]}) == 4


def test_the_most_finished_of_several_runs_is_taken(tmp_path: Path) -> None:
    (job,) = ablation(tmp_path, {"a": base()}, seeds=(0,)).jobs(1)
    first, second, third = (new_folder(job.experiment) for _ in range(3))
    assert runs.find(tmp_path / "runs", [job], NAMES)[job.content].folder == third
    (second / "checkpoint.safetensors").touch()
    assert runs.find(tmp_path / "runs", [job], NAMES)[job.content].folder == second
    (first / "report.json").write_text(str(report(0.5, {})))
    assert runs.find(tmp_path / "runs", [job], NAMES)[job.content].folder == first


OWN = """
from dataclasses import dataclass

from domainmetric import Nearest, SmallCnn


@dataclass(frozen=True, kw_only=True)
class Mine(Nearest):
    pass


@dataclass(frozen=True, kw_only=True)
class Net(SmallCnn):
    pass
"""


def test_runs_of_other_code_of_the_users_are_not_taken_for_these(tmp_path: Path) -> None:
    file = tmp_path / "my_arms.py"

    def jobs(text: str) -> list[Job]:
        file.write_text(text)
        own = vars(load_file(file))
        net = own["Net"](widths=(8,))
        data = Pair(source=StreetDigits(), target=SklearnDigits())
        plain = replace(base(), data=data, image_size=8)
        model = replace(plain.model, branches=replace(plain.model.branches, source=net, target=net))
        anchors = own["Mine"]()
        variants = {"no": plain, "arm": replace(plain, anchors=anchors), "net": replace(plain, model=model)}
        return ablation(tmp_path, variants, seeds=(0,)).jobs(1)

    before = jobs(OWN)
    for job in before:
        (new_folder(job.experiment) / "report.json").write_text("{}")
    assert [work.status for work in with_found(before, find(tmp_path, before, file))] == ["finished"] * 3
    now = jobs(OWN.replace("pass", "pass  # edited", 1))
    found = find(tmp_path, now, file)
    assert [work.status for work in with_found(now, found)] == ["finished", "missing", "missing"]
    assert runs.outdated(now, found) == 2 and runs.outdated(before, found) == 0
    told = opening(ablation(tmp_path), with_found(now, found), "2 at a time", outdated=2)
    assert "2 of them were begun before the user's code was edited, so they begin anew." in told
    # no source phase is shared with one of another code; that of an arm whose anchors were edited is the same
    assert [job.source for job in now[:2]] == [job.source for job in before[:2]]
    assert now[2].source != before[2].source


def find(folder: Path, jobs: list[Job], file: Path) -> dict[str, runs.Found]:
    return runs.find(folder / "runs", jobs, user_names(vars(load_file(file))))


def test_folders_that_are_no_runs_are_left_alone(tmp_path: Path) -> None:
    (job,) = ablation(tmp_path, {"a": base()}, seeds=(0,)).jobs(1)
    for name, text in {"torn": "{", "empty": "{}", "list": "[]"}.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "experiment.json").write_text(text)
    assert runs.find(tmp_path / "runs", [job], NAMES) == {}


def test_classes_that_a_worker_would_not_find_are_told_before(tmp_path: Path) -> None:
    assert check_names(ablation(tmp_path), Path("mine.py"), NAMES)
    with pytest.raises(ConfigError, match=r"'nearest' uses a class or function that mine\.py does not name"):
        check_names(ablation(tmp_path), Path("mine.py"), {})


def test_a_variant_that_reads_target_labels_is_no_candidate_of_a_label_free_score(tmp_path: Path) -> None:
    oracle = base(anchors=Oracle(), labelled_target=AllLabels(batch=8))
    three = ablation(
        tmp_path, {"nearest": base(), "random": base(anchors=RandomAnchors()), "oracle": oracle}, seeds=(0,)
    )
    works = with_found(three.jobs(1), {})
    for work, accuracy in zip(works, (0.8, 0.7, 0.99), strict=True):
        work.folder, work.status = new_folder(work.job.experiment), "finished"
        finish(work.folder, accuracy, {"right": accuracy}, {})
    outcome = conclude(three, works, "domainmetric ablate mine.py")
    assert outcome.problem is None
    scores, table = (
        list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("scores.csv", "table.csv")
    )
    (score,) = scores
    assert (score["chooses"], score["best_oracle"], float(score["gap_points_oracle"])) == ("nearest", "nearest", 0.0)
    assert [one["variant"] for one in table] == ["nearest", "random", "oracle"]
    for name in ("table.csv", "runs.csv", "differences.csv"):
        read = csv.DictReader((tmp_path / name).read_text().splitlines())
        assert {one["variant"] for one in read if one["oracle"] == "True"} == {"oracle"}, name
    for name in ("table.md", "table.tex"):
        text = (tmp_path / name).read_text()
        assert text.count("oracle (oracle)") == 4 and "nearest (baseline)" in text, name


def test_what_is_not_complete_is_told(tmp_path: Path) -> None:
    works = with_found(ablation(tmp_path, seeds=(0,)).jobs(1), {})
    works[0].status, works[0].error, works[0].folder = "failed", "no memory", tmp_path / "runs" / "a"
    told = str(problem(works, "domainmetric ablate mine.py"))
    assert told.startswith(
        "Interrupted with 1 of 2 runs left; their state is saved. 1 failed: nearest, seed 0: no memory"
    )
    works[1].status = "finished"
    told = str(problem(works, "domainmetric ablate mine.py"))
    assert told.startswith("1 of 2 runs failed, the rest is complete. nearest, seed 0: no memory (")
    assert told.endswith("The same command goes on: domainmetric ablate mine.py")
    works[0].status = "finished"
    assert problem(works, "") is None


def test_the_record_knows_no_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "somebody"
    monkeypatch.setenv("HOME", str(home))
    mine = ablation(tmp_path / "ablation", {"nearest": base(data_root=home / "data")})
    job = Job(variant="nearest", seed=0, experiment=mine.variants["nearest"], content="", source=None)
    failed = Work(job=job, status="failed", error=f"{home}/data is not there")
    command = f"domainmetric ablate {home}/mine.py --data-root={home}/data"
    mine.folder.mkdir()
    write_record(mine, [failed], file=home / "mine.py", command=command, threads=1, machine={"commit": None})
    written = (mine.folder / RECORD).read_text()
    assert "somebody" not in written
    assert written.count('"~/') == 3  # the file, the error, and the images
