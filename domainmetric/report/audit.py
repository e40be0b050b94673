"""The audit of the data of every run: figures of both domains and of the views, and what was found in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domainmetric.audit.facts import DataFacts, DomainFacts
from domainmetric.audit.measure import SetFacts
from domainmetric.audit.record import AUDIT
from domainmetric.audit.show import COLUMNS, in_common, set_rows
from domainmetric.errors import RunFolderError
from domainmetric.report.study import Study
from domainmetric.training.checkpoint import read_json


def audits(study: Study) -> list[dict[str, Any]]:
    """Each different audit, with the numbers of its runs."""
    found: list[dict[str, Any]] = []
    for index, run in enumerate(study.runs):
        try:
            written = read_json(run.folder / AUDIT) if (run.folder / AUDIT).is_file() else None
            shown = told(written) if written is not None else None
        except (RunFolderError, TypeError, KeyError, AttributeError, ValueError):  # of another version, or damaged
            continue
        if shown is None:
            continue
        same = next((audit for audit in found if {**audit, **shown} == audit), None)
        if same is None:
            found.append({"runs": [index], **shown})
        else:
            same["runs"].append(index)
    return found


def told(written: Mapping[str, Any]) -> dict[str, Any]:
    """What an audit in a run folder says, as text."""
    facts = DataFacts(
        domains={side: domain(facts) for side, facts in written["data"]["domains"].items()},
        shared=int(written["data"]["shared"]),
    )
    views = {side: figures(one) for side, one in written["views"].items()}
    return {
        "rows": [COLUMNS, *set_rows(facts, views)],
        "common": list(in_common(facts)),
        "findings": [str(text) for text in written["findings"]],
    }


def domain(written: Mapping[str, Any]) -> DomainFacts:
    """A domain's figures."""
    splits = {name: figures(one) for name, one in written["splits"].items()}
    counts = written["class_counts"]
    return DomainFacts(
        **{
            **written,
            "classes": tuple(written["classes"]),
            "splits": splits,
            "class_counts": None if counts is None else {name: tuple(one) for name, one in counts.items()},
        }
    )


def figures(written: Mapping[str, Any]) -> SetFacts:
    """Those of a set; JSON knows lists alone where they have tuples."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}
    return SetFacts(**values)
