"""The page of a run shows its audit as text, each different one once, and takes no harm from one that is damaged."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from domainmetric.audit.record import AUDIT
from domainmetric.report.build import make
from domainmetric.training.checkpoint import write_json
from tests.audit.made_data import facts
from tests.report.made import HOSTILE, NAMES, ablation_folder, run_folder


def shown(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """The page, and the audits among its data."""
    page = make(folder, names=NAMES).page.read_text(encoding="utf-8")
    data = page.partition('<script id="data" type="application/json">')[2].partition("</script>")[0]
    return page, json.loads(data)["audits"]


def audit_into(folder: Path, tmp_path: Path, findings: list[str]) -> None:
    taken = facts(tmp_path / "runs")
    views = {side: asdict(domain.splits["train"]) for side, domain in taken.domains.items()}
    write_json(folder / AUDIT, {"data": asdict(taken), "views": views, "findings": findings})


def test_it_has_the_figures_of_each_split_and_what_was_found(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    audit_into(folder, tmp_path, [HOSTILE])
    page, (audit,) = shown(folder)
    assert HOSTILE not in page.partition("</head>")[2]  # it is there as escaped JSON alone
    assert (audit["runs"], audit["findings"]) == ([0], [HOSTILE])
    names = ["colored train", "colored test", "grey train", "grey test", "colored views", "grey views"]
    assert [row[0] for row in audit["rows"][1:]] == names
    assert [row[1] for row in audit["rows"]] == ["images", "320", "200", "320", "200", "320", "320"]
    assert audit["common"][-1] == "Both domains: 0 different images are in both."


def test_runs_with_the_same_data_share_one(tmp_path: Path) -> None:
    folder = ablation_folder(tmp_path / "ablation")
    for run, findings in (("v0-s0", []), ("v0-s1", []), ("v1-s0", ["Something else."])):
        audit_into(folder / "runs" / run, tmp_path, findings)
    assert [audit["runs"] for audit in shown(folder)[1]] == [[0, 1], [2]]


@pytest.mark.parametrize("damage", ["{", "[]", '{"data": {"domains": {"source": 1}}}', '{"data": null}'])
def test_one_that_cannot_be_read_is_left_out(damage: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", matches=False)
    (folder / AUDIT).write_text(damage)
    assert shown(folder)[1] == []
