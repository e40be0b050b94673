"""What decides whether a source phase may be reused, without training one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from domainmetric import OwnBackbone
from domainmetric.models.network import Separate
from domainmetric.recipes import load_file
from domainmetric.training.circumstances import user_code
from domainmetric.training.phase_key import reusable
from tests import tiny

NET = "def my_net(channels, image_size):\n    return None\n"


def test_compiled_and_plain_phases_are_not_taken_for_one_another(tmp_path: Path) -> None:
    plain = tiny.experiment(tmp_path)
    assert reusable(plain) != reusable(replace(plain, runtime=replace(plain.runtime, compile=True)))


def test_two_files_of_one_name_are_both_part_of_the_users_code(tmp_path: Path) -> None:
    def code(first: str, second: str) -> dict[str, str]:
        nets = []
        for folder, text in (("a", first), ("b", second)):
            file = tmp_path / folder / "nets.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            nets.append(OwnBackbone(function=vars(load_file(file))["my_net"], num_features=16))
        return user_code(Separate(source=nets[0], target=nets[1]))

    edited = NET + "\n# edited\n"
    assert code(NET, NET) == code(NET, NET)
    assert len({code(*texts)["nets.py"] for texts in ((NET, NET), (edited, NET), (edited, edited))}) == 3
