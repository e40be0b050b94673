"""What is installed: locked with hashes, without the releases known to be bad, and audited or said not to be."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.safety.audit import ROOT, SAFE, UNKNOWN, VULNERABLE, verdict

LOCKED = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [Requirement(line) for line in PROJECT["dependencies"]]


def locked() -> dict[str, set[Version]]:
    """Every locked version of each package."""
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", LOCKED, flags=re.MULTILINE):
        found.setdefault(name, set()).add(Version(version))
    return found


def test_every_locked_package_has_hashes_and_nothing_names_a_registry() -> None:
    entries = re.split(r"\n(?=\S)", LOCKED.strip())
    assert len(entries) == sum(map(len, locked().values())) > 100
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in LOCKED and "index-url" not in LOCKED


def test_the_lock_satisfies_what_is_declared() -> None:
    versions = locked()
    wrong = [str(need) for need in DECLARED if not all(need.specifier.contains(v) for v in versions[need.name.lower()])]
    assert wrong == []


@pytest.mark.parametrize("bad", ["2.6.2", "2.6.3"])
def test_lightnings_compromised_releases_cannot_come_in(bad: str) -> None:
    (fabric,) = (need for need in DECLARED if need.name == "lightning-fabric")
    assert not fabric.specifier.contains(bad)
    for name in ("lightning", "pytorch-lightning", "lightning-fabric"):
        assert Version(bad) not in locked().get(name, set())


def test_torch_is_new_enough() -> None:
    (torch,) = (need for need in DECLARED if need.name == "torch")
    assert not torch.specifier.contains("2.9.9") and torch.specifier.contains("2.10.0")


def answer(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages})


GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNASKED = {"name": "unasked", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        (answer(GOOD), SAFE, "1 of 1 locked packages audited"),
        (answer(GOOD, BAD), VULNERABLE, "bad 1.0: CVE-1, mended in ['1.1']"),
        (answer(BAD, UNASKED), VULNERABLE, "NOT AUDITED"),
        (answer(GOOD, UNASKED), UNKNOWN, "could not be asked: unasked."),
        (answer(), UNKNOWN, "0 of 0"),
        ("", UNKNOWN, "NOT AUDITED: the vulnerability service could not be asked (no route)"),
    ],
)
def test_the_audit_calls_safe_only_what_it_could_ask(said: str, code: int, word: str) -> None:
    text, result = verdict(said, "Traceback\nno route")
    assert result == code and word in text
