"""Nothing that a file says is ever executed: no pickle in any form, no evaluation of text, no shell.

Read from the syntax trees, so a comment may name what code may not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for part in ("domainmetric", "data_prep", "experiments") for path in sorted((ROOT / part).rglob("*.py"))]
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "code",
    "codeop",
    "yaml",
}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"torch.load", "torch.save", "torch.jit.load", "os.system", "os.popen", "pd.read_pickle", "numpy.fromregex"}
METHODS = {"to_pickle", "read_pickle", "load_state_dict_from_url"}
UNPICKLED = {"domainmetric/models/hub.py calls torch.hub.load_state_dict_from_url"}
"""Official weights, in the form in which their publishers have them: the digits in the file's name are checked, and
torch reads tensors alone (`weights_only=True`)."""
IMPORTERS = {
    "domainmetric/__init__.py": "its own names, when they are used",
    "domainmetric/serialize.py": "the installed package's own modules",
    "domainmetric/data/view_bank.py": "albumentations",
    "domainmetric/data/views_worker.py": "the classes of the pipeline that its parent process sends",
}
"""Who may import a module by a name that is no literal, and which."""


def faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
            yield from (f"imports {n}" for n in names if n.partition(".")[0] in MODULES or n in CALLS)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in BUILTINS | CALLS or called.rpartition(".")[2] in METHODS:
                yield f"calls {called}"
            for given in node.keywords:
                value = given.value.value if isinstance(given.value, ast.Constant) else "unknown"
                if (given.arg == "allow_pickle" and value is not False) or (
                    given.arg == "shell" and value is not False
                ):
                    yield f"calls {called} with {given.arg}"


def imports_by_name(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") for node in ast.walk(tree)
    )


def test_no_file_executes_what_it_reads() -> None:
    assert len(FILES) > 150
    found = [f"{path.relative_to(ROOT)} {fault}" for path in FILES for fault in faults(ast.parse(path.read_text()))]
    assert set(found) == UNPICKLED and len(found) == len(UNPICKLED)


def test_the_one_exception_reads_tensors_alone_from_a_file_whose_digits_are_checked() -> None:
    tree = ast.parse((ROOT / "domainmetric" / "models" / "hub.py").read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load_state_dict_from_url")
    )
    given = {one.arg: ast.unparse(one.value) for one in call.keywords}
    assert given["weights_only"] == given["check_hash"] == "True"


def test_modules_are_imported_by_name_only_where_it_is_said_which() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in FILES if imports_by_name(ast.parse(path.read_text()))}
    assert found == set(IMPORTERS)


def test_torch_unpickles_an_export_only_in_the_check_of_what_was_just_made() -> None:
    called = {path.relative_to(ROOT).as_posix() for path in FILES if "torch.export.load(" in path.read_text()}
    assert called == {"domainmetric/embedding/export.py"}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "import yaml",
        "import joblib.numpy_pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "torch.save(x, path)",
        "torch.hub.load_state_dict_from_url(url, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "eval(text)",
        "exec(text)",
        "frame.to_pickle(path)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_each_of_these_would_be_seen(line: str) -> None:
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize("line", ["np.load(path, allow_pickle=False)", "model.eval()", "spec.loader.exec_module(m)"])
def test_these_are_no_faults(line: str) -> None:
    assert not list(faults(ast.parse(line)))
