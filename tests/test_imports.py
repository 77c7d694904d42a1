"""Imports lead one way, without circles, to named packages. Every file is read, none is run."""

import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("data", "support", "results")  # where modules of ours are, beside the top level
METHOD = {"data", "tandem", "model"}
MAY_IMPORT = {  # a module of the top level, or a folder, and where its imports of ours may lead
    "data": {"data"},
    "tandem": set(),
    "model": set(),
    "engine": METHOD,
    "minimal": {"data", "model", "engine", "reward"},
    "rollout": METHOD | {"engine", "support.fast_engine"},
    "reward": {"support.verifier"},
    "evaluate": METHOD | {"rollout", "reward", "support.runs.progress"},
    "train": METHOD | {"rollout", "reward", "evaluate", "support"},
    "support": METHOD | {"engine", "rollout", "reward", "evaluate", "support"},
    "results": METHOD | {"rollout", "reward", "evaluate", "train", "support", "results"},
}
# Within a function: one measures a step of training, one explains a step, one completes the
# options of older runs.
MAY_IMPORT_TRAIN = {"support.reports.benchmark", "support.reports.explain", "support.runs.saved"}
EXTRAS = {"matplotlib", "safetensors", "gguf", "tokenizers", "wandb"}


@dataclass(frozen=True)
class Import:
    """An import of one module by another.

    Under `if __name__ == "__main__":` it is none: nobody who imports the module meets it.
    """

    by: str
    of: str
    line: int
    in_function: bool


def imports_in(node: ast.AST, by: str, ours: set[str], in_function: bool = False):
    """The imports below a node. `from support import ranks` is one of the module support.ranks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "__name__" in ast.unparse(child.test):
            continue
        names = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{by}:{child.lineno} is a relative import"
            inner = [f"{child.module}.{alias.name}" for alias in child.names]
            names = [name for name in inner if name in ours] or [child.module]
        for name in names:
            yield Import(by, name, child.lineno, in_function)
        function = in_function or isinstance(child, ast.FunctionDef | ast.Lambda)
        yield from imports_in(child, by, ours, function)


def read(root: Path) -> tuple[dict[str, ast.Module], list[Import]]:
    """Our modules by their dotted names, and all of their imports."""
    paths = [
        *root.glob("*.py"),
        *(path for folder in FOLDERS for path in root.glob(f"{folder}/**/*.py")),
    ]
    trees = {}
    for path in paths:
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees, [
        found for name, tree in trees.items() for found in imports_in(tree, name, set(trees))
    ]


def allowed(found: Import) -> bool:
    targets = MAY_IMPORT.get(found.by.partition(".")[0], set())
    if found.in_function and found.by in MAY_IMPORT_TRAIN:
        targets = targets | {"train"}
    parts = found.of.split(".")
    return any(".".join(parts[:n]) in targets for n in range(1, len(parts) + 1))


def package_names(text: str) -> set[str]:
    """The packages that a requirements.txt or a pyproject.toml names, without their versions."""
    return {
        name.lower() for name in re.findall(r"""(?:^|["'])([\w-]+)\s*[=<>~]=""", text, re.MULTILINE)
    }


def faults(root: Path) -> list[str]:
    """Everything that is wrong with the imports below a folder, a line each."""
    trees, imports = read(root)
    ours = [found for found in imports if found.of in trees]
    wrong = [f"{found.by}:{found.line} imports {found.of}" for found in ours if not allowed(found)]
    graph = defaultdict(set)
    for found in ours:
        graph[found.by].add(found.of)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append("circle: " + " -> ".join(error.args[1]))
    known = package_names((root / "requirements.txt").read_text())
    known |= EXTRAS & package_names((root / "pyproject.toml").read_text())
    known |= {name.partition(".")[0] for name in trees} | sys.stdlib_module_names
    for found in imports:
        package = found.of.partition(".")[0]
        if package not in known:
            wrong.append(f"{found.by}:{found.line} {package} is named in no list of packages")
    return wrong


def test_imports_lead_one_way_and_to_named_packages():
    trees, imports = read(ROOT)
    assert len(trees) > 30 and len(imports) > 200
    assert set(MAY_IMPORT) >= {name for name in trees if "." not in name}
    extras = package_names((ROOT / "pyproject.toml").read_text())
    assert EXTRAS <= extras  # three are imported by a helper
    assert faults(ROOT) == []


def test_a_name_is_defined_in_one_module():
    """A function, class or constant; but each command has a `main`, and perhaps `Options`."""
    where = defaultdict(set)
    for module, tree in read(ROOT)[0].items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                where[node.name].add(module)
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            where[name.id].add(module)
    meant_alike = {"main", "Options"}
    meant_alike |= {"KVCache", "prefill", "reading", "response_states"}  # engine.py's, and faster
    twice = {name: modules for name, modules in where.items() if len(modules) > 1}
    assert {name: modules for name, modules in twice.items() if name not in meant_alike} == {}


@pytest.mark.parametrize(
    "path, source, fault",
    [
        ("model.py", "import math\nimport torch", None),
        ("rollout.py", "if __name__ == '__main__':\n    import support.show", None),
        ("support/a.py", "def f():\n    import evaluate", None),
        ("support/a.py", "def f():\n    from support import b", "circle: .*support.a"),
        ("data/a.py", "if 1:\n    import model", "data.a:2 imports model"),
        ("support/a.py", "class A:\n    import train", "support.a:2 imports train"),
        ("rollout.py", "from support import b", "rollout:1 imports support.b"),
        ("model.py", "def f():\n    import numpy.linalg", "model:2 numpy is named in no list"),
        ("model.py", "import gguf", "model:1 gguf is named in no list"),
    ],
)
def test_a_fault_is_found_wherever_it_hides(tmp_path, path, source, fault):
    """In a made-up tree that is good but for one file."""
    good = {
        "requirements.txt": "torch==2.13.0\n",
        "pyproject.toml": 'plot = ["matplotlib>=3.8"]\n',
        "model.py": "",
        "train.py": "",
        "evaluate.py": "",
        "support/b.py": "import support.a",
        "support/a.py": "",
    }
    for name, text in (good | {path: source}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = faults(tmp_path)
    assert found == [] if fault is None else any(re.search(fault, line) for line in found)
