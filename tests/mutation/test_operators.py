"""The mutation check's own changes: each is one, compiles, and leaves alone what decides nothing."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.__main__ import conclude, every_mutant, nearby_tests
from tests.mutation.operators import sites

SNIPPET = '''
"""A docstring of 3."""
@decorated(limit=3)
class Spec(Base):
    default: float = 0.5
    switch: ClassVar[bool] = True
    def of(self, x: "Float[Tensor, 3]") -> int:
        assert x > 3
        if not x:
            raise ValueError(f"{x + 3}")
        return x.min(dim=0) + (-x if x < 2 else 0.5)
'''


def changes() -> list[tuple[str, str]]:
    tree = ast.parse(SNIPPET)
    before = ast.unparse(tree).splitlines()
    found = []
    for site in sites(tree):
        after = site.mutant(tree).splitlines()
        compile("\n".join(after), "mutant", "exec")
        found += [(a.strip(), b.strip()) for a, b in zip(before, after, strict=True) if a != b]
    assert ast.unparse(tree).splitlines() == before
    return found


def test_each_change_is_one_that_can_be_seen() -> None:
    line, end = "return x.min(dim=0) + (-x if x < 2 else 0.5)", "else 0.5)"
    assert sorted(changes()) == sorted(
        [
            ("switch: ClassVar[bool] = True", "switch: ClassVar[bool] = False"),
            ("if not x:", "if x:"),
            (line, "return x.min(dim=0) - (-x if x < 2 else 0.5)"),
            (line, "return x.max(dim=0) + (-x if x < 2 else 0.5)"),
            (line, "return x.min(dim=1) + (-x if x < 2 else 0.5)"),
            (line, "return x.min(dim=0) + (-x if not x < 2 else 0.5)"),
            (line, "return x.min(dim=0) + (x if x < 2 else 0.5)"),
            (line, f"return x.min(dim=0) + (-x if x <= 2 {end}"),
            (line, f"return x.min(dim=0) + (-x if x < 3 {end}"),
            (line, "return x.min(dim=0) + (-x if x < 2 else 1.0)"),
        ]
    )


def test_there_is_enough_to_draw_from_and_a_files_own_tests_come_first() -> None:
    mutants = every_mutant()
    assert len({mutant.key for mutant in mutants}) == len(mutants) > 1000
    assert nearby_tests("domainmetric/losses/order.py")[0].startswith("tests/losses/")
    assert nearby_tests("domainmetric/geometry.py")[0] == "tests/test_geometry.py"


@pytest.mark.parametrize(("killed", "status"), [(17, 0), (16, 1)])
def test_too_many_survivors_fail_the_command(killed: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    mutants = every_mutant()[:20]
    verdicts = ["killed by time", *["killed"] * (killed - 1), *["survived"] * (20 - killed)]
    assert conclude(list(zip(mutants, verdicts, strict=True)), 85) == status
    assert capsys.readouterr().out.count("survived:") == 20 - killed
