"""`make audit`: asks a vulnerability service about every locked package, and calls safe only what it could ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAFE, VULNERABLE, UNKNOWN = 0, 1, 2


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "requirements.lock")]
    command += ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text, code = verdict(done.stdout, done.stderr)
    print(text)
    return code


def verdict(answer: str, complaint: str) -> tuple[str, int]:
    """What pip-audit's JSON, or its failure, means: in words, and as an exit code."""
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        reason = (complaint.strip().splitlines() or ["no answer"])[-1]
        return (
            f"NOT AUDITED: the vulnerability service could not be asked ({reason}). Try again with a network.",
            UNKNOWN,
        )
    asked = [package for package in packages if "skip_reason" not in package]
    lines = [
        f"{package['name']} {package['version']}: {flaw['id']}, mended in {flaw['fix_versions'] or 'no release'}"
        for package in asked
        for flaw in package["vulns"]
    ]
    found = bool(lines)
    missing = [package["name"] for package in packages if "skip_reason" in package]
    lines.append(f"{len(asked)} of {len(packages)} locked packages audited, {len(lines)} known vulnerabilities.")
    if missing:
        lines.append(f"NOT AUDITED, as the service did not know them or could not be asked: {', '.join(missing)}.")
    return "\n".join(lines), VULNERABLE if found else UNKNOWN if missing or not asked else SAFE


if __name__ == "__main__":
    sys.exit(main())
