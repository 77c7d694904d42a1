"""Who imports whom: one way, without circles, from named packages. Every .py file is read, none is run."""

import ast
import re
import sys
from collections import Counter
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP_LEVEL = {"tandem", "model", "rollout", "reward", "evaluate", "train"}
METHOD = {"data", "tandem", "model"}
MAY_IMPORT = {  # a module, or the folder that it is in, and where its imports of ours may lead
    "data": {"data"},
    "tandem": {"data"},
    "model": {"data"},
    "rollout": METHOD,
    "reward": {"support.latex", "support.spelling", "support.values", "support.prover"},
    "evaluate": METHOD | {"rollout", "reward", "support"},
    "train": METHOD | {"rollout", "reward", "evaluate", "support"},
    "support": METHOD | {"rollout", "reward", "evaluate", "support"},
    "results": METHOD | {"rollout", "reward", "evaluate", "support", "results"},
}
EXTRAS = {"matplotlib", "safetensors", "gguf", "tokenizers"}


@dataclass(frozen=True)
class Import:
    """An import of one module by another. `place`: "module", "function", or "command" (under if __name__)."""

    by: str
    of: str
    place: str
    line: int


def is_command(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def imports_in(node: ast.AST, by: str, ours: set[str], place: str = "module"):
    """The imports below a node. `from support import ranks` is one of support.ranks, if that is a module."""
    for child in ast.iter_child_nodes(node):
        names = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            package = by.split(".")[: -child.level] if child.level else []
            base = ".".join([*package, *filter(None, [child.module])])
            inner = [f"{base}.{alias.name}".strip(".") for alias in child.names]
            names = [name for name in inner if name in ours] or [base]
        elif isinstance(child, ast.Call) and ast.unparse(child.func) in ("importlib.import_module", "__import__"):
            names = [word.value for word in child.args[:1] if isinstance(word, ast.Constant)]
        for name in names:
            yield Import(by, name, place, child.lineno)
        inside = "command" if is_command(child) else place
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside = "function"
        yield from imports_in(child, by, ours, inside)


def read(root: Path) -> tuple[set[str], list[Import]]:
    """Our modules, by their dotted names, and all of their imports; tests, runs and hidden folders left out."""
    paths = {}
    for path in sorted(root.rglob("*.py")):
        folders = path.relative_to(root).parts[:-1]
        installed = any((root.joinpath(*folders[: i + 1]) / "pyvenv.cfg").exists() for i in range(len(folders)))
        if folders[:1] not in [("tests",), ("runs",)] and not installed and not any(f[0] == "." for f in folders):
            paths[".".join([*folders, *([] if path.stem == "__init__" else [path.stem])])] = path
    ours = set(paths) | {name.rpartition(".")[0] for name in paths} - {""}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    return ours, [found for name, tree in trees.items() for found in imports_in(tree, name, ours)]


def allowed(found: Import) -> bool:
    """Whether an import of ours leads the right way. A command may lead anywhere: nobody imports it."""
    if found.place == "function":
        return found.by in ("support.benchmark", "support.memory") and found.of == "train"
    targets = MAY_IMPORT.get(found.by) or MAY_IMPORT.get(found.by.partition(".")[0], set())
    return found.place == "command" or found.of in targets or found.of.partition(".")[0] in targets


def package_names(text: str) -> set[str]:
    """The packages that a requirements.txt or a pyproject.toml names, without their versions."""
    return {name.lower() for name in re.findall(r"""(?:^|["'])([\w-]+)\s*[=<>~]=""", text, re.MULTILINE)}


def faults(root: Path) -> list[str]:
    """Everything that is wrong with the imports below a folder, a line each."""
    ours, imports = read(root)
    internal = [found for found in imports if found.of in ours and found.of != found.by]
    wrong = [f"{i.by}:{i.line} {i.place} imports {i.of}" for i in internal if not allowed(i)]
    graph = {name: {i.of for i in internal if i.by == name and i.place == "module"} for name in ours}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append("circle: " + " -> ".join(error.args[1]))
    strangers = [name for name in ours - TOP_LEVEL if (root / f"{name}.py").exists()]
    wrong += [f"{name}.py is no file of the top level" for name in strangers]
    required = package_names((root / "requirements.txt").read_text())
    required |= EXTRAS & package_names((root / "pyproject.toml").read_text())
    third_party = [(i, i.of.partition(".")[0]) for i in imports if i.of not in ours]
    unnamed = [(i, name) for i, name in third_party if name not in sys.stdlib_module_names | ours | required]
    return wrong + [f"{i.by}:{i.line} {name} is named in no list of packages" for i, name in unnamed]


def test_imports_lead_one_way_and_to_named_packages():
    ours, imports = read(ROOT)
    assert {"data.problems", "support.options", *TOP_LEVEL} <= ours  # they were read
    assert Counter(found.by for found in imports)["train"] > 10
    assert EXTRAS <= package_names((ROOT / "pyproject.toml").read_text())  # three are imported by a helper
    assert faults(ROOT) == []


SHOW = "from rollout import generate\nfrom . import benchmark\ndef draw():\n    import matplotlib\n"
COMMAND = "if __name__ == '__main__':\n    from support.show import main\n"
GOOD = {
    "requirements.txt": "torch==2.13.0\ntqdm==4.70.1  # with numpy\n",
    "pyproject.toml": '[project.optional-dependencies]\nplot = ["matplotlib>=3.8"]\n',
    "tandem.py": "import math\nimport torch\n",
    "model.py": "",
    "rollout.py": f"from model import GPT\nimport tandem\n{COMMAND}",
    "reward.py": "from support.latex import read\nfrom support import prover\n",
    "evaluate.py": "from rollout import generate\nimport reward\nimport data.problems\n",
    "train.py": "from evaluate import evaluate\nfrom support import benchmark\n",
    "data/problems.py": "from data import tokenizer\n",
    "data/tokenizer.py": "import torch.nn.functional as F\n",
    "support/latex.py": "",
    "support/prover.py": "from support.latex import read\n",
    "support/show.py": SHOW,
    "support/benchmark.py": "from rollout import generate\ndef run():\n    from train import update\n",
    "tests/test_it.py": "import anything\n",
    ".venv/some.py": "import anything\n",
}


BAD = [
    ("support/latex.py", "from support.prover import x", "circle: .*support.latex"),
    ("support/latex.py", "if 1:\n    import reward", "circle: .*reward"),
    ("data/tokenizer.py", "try:\n    from . import problems\nfinally:\n    pass", "circle: .*data.problems"),
    ("data/problems.py", "import model", "data.problems:1 module imports model"),
    ("tandem.py", "class A:\n    import rollout", "tandem:2 module imports rollout"),
    ("rollout.py", "from evaluate import evaluate", "rollout:1 module imports evaluate"),
    ("rollout.py", "from support import show", "rollout:1 module imports support.show"),
    ("reward.py", "import model", "reward:1 module imports model"),
    ("reward.py", "from support import show", "reward:1 module imports support.show"),
    ("evaluate.py", "import train", "evaluate:1 module imports train"),
    ("support/benchmark.py", "from train import update", "support.benchmark:1 module imports train"),
    ("support/show.py", "def f():\n    from train import update", "support.show:2 function imports train"),
    ("model.py", "def f():\n    def g():\n        import rollout", "model:3 function imports rollout"),
    ("train.py", "f = lambda: __import__('model')", "train:1 function imports model"),
    ("data/problems.py", "def f():\n    import data.tokenizer", "data.problems:2 function imports data.tokenizer"),
    ("config.py", "", "config.py is no file of the top level"),
    ("model.py", "import einops", "model:1 einops is named in no list"),
    ("model.py", "def f():\n    import numpy.linalg", "model:2 numpy is named in no list"),
    ("model.py", "import gguf", "model:1 gguf is named in no list"),
]


@pytest.mark.parametrize("path, source, fault", [("model.py", "", None), *BAD])
def test_a_fault_is_found_wherever_it_hides(tmp_path, path, source, fault):
    """In a made-up tree that is good but for one file."""
    for name, text in (GOOD | {path: source}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = faults(tmp_path)
    assert found == [] if fault is None else any(re.search(fault, line) for line in found)
