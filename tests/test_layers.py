"""Imports only point down: the contracts of pyproject.toml, kept by import-linter."""

from __future__ import annotations

from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_ERROR, EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


def test_the_contracts_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    kept = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert kept == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_an_import_upwards_would_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contracts = (ROOT / "pyproject.toml").read_text().partition("[tool.importlinter]")[2]
    reversed_floors = contracts.replace('    "types",\n    "errors",\n', '    "errors",\n    "types",\n')
    assert reversed_floors != contracts
    (tmp_path / "pyproject.toml").write_text("[tool.importlinter]" + reversed_floors)
    assert lint_imports(config_filename=str(tmp_path / "pyproject.toml"), no_cache=True) == EXIT_STATUS_ERROR
    assert "domainmetric.types -> domainmetric.errors" in capsys.readouterr().out
