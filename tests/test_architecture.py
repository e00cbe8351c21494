"""Who may import whom, and the limits on size and style, read from the source's syntax trees."""

import ast
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From a module, by its longest matching name, to the modules of this project and the third parties it may
# import. Nothing points up, and the shells do not know each other. Itself and the standard library are free.
IMPORTS: dict[str, set[str]] = {
    "train": {
        "lightning_modules",
        "datamodules",
        "callbacks",
        "uibe",
        "pytorch_lightning",
        "jsonargparse",
        "yaml",
        "rich",
    },
    "evaluate": {"commands", "lightning_modules.configs", "uibe.errors", "jsonargparse"},
    "experiments": {
        "commands",
        "lightning_modules.configs",
        "uibe.errors",
        "uibe.report",
        "jsonargparse",
        "rich",
    },
    "commands": {"lightning_modules", "datamodules", "uibe", "torch", "pytorch_lightning", "rich"},
    "commands.arguments": {"jsonargparse"},
    "lightning_modules": {"uibe", "torch", "pytorch_lightning", "yaml"},
    "lightning_modules.configs": {"uibe.errors", "yaml", "jsonargparse"},
    "datamodules": {"uibe.data", "uibe.modules", "uibe.errors", "torch", "pytorch_lightning"},
    "callbacks": {
        "uibe.functional",
        "uibe.metrics",
        "uibe.report",
        "uibe.errors",
        "torch",
        "pytorch_lightning",
        "rich",
    },
    "uibe": {"uibe.library"},
    "uibe.errors": set(),
    "uibe.files": set(),
    "uibe.functional": {"torch"},
    "uibe.modules": {
        "uibe.functional",
        "uibe.errors",
        "uibe.files",
        "torch",
        "torchvision",
        "timm",
        "safetensors",
        "numpy",
        "PIL",
    },
    "uibe.metrics": {"uibe.functional", "torch", "torchmetrics"},
    "uibe.data": {
        "uibe.functional",
        "uibe.modules",
        "uibe.errors",
        "uibe.files",
        "torch",
        "numpy",
        "PIL",
        "rich",
    },
    "uibe.data.remote": {"uibe.errors", "fsspec", "aiohttp"},
    "uibe.peers": {
        "uibe.functional",
        "uibe.modules",
        "uibe.errors",
        "torch",
        "numpy",
        "sklearn",
        "safetensors",
        "rich",
    },
    "uibe.report": {
        "uibe.functional",
        "uibe.modules",
        "uibe.metrics",
        "uibe.errors",
        "uibe.files",
        "torch",
        "numpy",
        "PIL",
        "matplotlib",
        "jinja2",
        "markupsafe",
        "rich",
    },
    "uibe.library": {
        "uibe.functional",
        "uibe.modules",
        "uibe.metrics",
        "uibe.data",
        "uibe.report",
        "uibe.errors",
        "torch",
        "numpy",
        "PIL",
        "scipy",
        "safetensors",
    },
    "uibe.assets": {
        "uibe.data",
        "uibe.modules",
        "torch",
        "torchvision",
        "torchmetrics",
        "safetensors",
        "rich",
    },
}
PACKAGES = ("uibe", "lightning_modules", "datamodules", "callbacks", "commands")
MAX_FILE, MAX_FUNCTION = 300, 60


def sources() -> dict[str, Path]:
    """The project's modules by dotted name."""
    paths = [ROOT / "train.py", ROOT / "evaluate.py", ROOT / "experiments.py"]
    paths += [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_dotted(path): path for path in paths}


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all modules that a source imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # a name may be a module itself, as in `from uibe import data`
            whole = "." * node.level + (node.module or "")
            yield from (f"{whole}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or inside it."""
    return name == package or name.startswith(package + ".")


def wrong_imports(module: str, source: str) -> list[str]:
    """Imports that the table does not allow; relative ones are never allowed."""
    owner = max((name for name in IMPORTS if within(module, name)), key=len)
    allowed = IMPORTS[owner] | ({owner} if owner != "uibe" else set())
    names = [
        name for name in imported(ast.parse(source)) if name.partition(".")[0] not in sys.stdlib_module_names
    ]
    return [name for name in names if not any(within(name, package) for package in allowed)]


def long_parts(module: str, source: str) -> list[str]:
    """The file and the functions that are too long."""
    found = [module] if len(source.splitlines()) > MAX_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if _lines_without_docstring(node, first) > MAX_FUNCTION:
                found.append(f"{module}.{node.name}")
    return found


def _lines_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, first: int) -> int:
    doc = node.body[0] if ast.get_docstring(node, clean=False) else None
    return (node.end_lineno or first) - first + 1 - (_span(doc) if doc else 0)


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def forbidden(module: str, source: str) -> list[str]:
    """Calls and handlers that the project does without."""
    return [
        f"{module}, line {node.lineno}: {what}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call | ast.ExceptHandler) and (what := _fault(node))
    ]


def _fault(node: ast.Call | ast.ExceptHandler) -> str | None:
    if isinstance(node, ast.ExceptHandler):
        return "bare except" if node.type is None else None
    if isinstance(node.func, ast.Name) and node.func.id == "print":
        return "print"
    if isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
        return ".cuda()"
    unsafe = [
        key.arg == "weights_only" and isinstance(key.value, ast.Constant) and key.value.value is not True
        for key in node.keywords
    ]
    return "weights_only is not True" if any(unsafe) else None


def misnamed(module: str, source: str) -> list[str]:
    """A module whose name says nothing."""
    del source
    return [module] if module.rpartition(".")[2] in ("utils", "helpers", "common", "misc") else []


CHECKS: list[Callable[[str, str], list[str]]] = [wrong_imports, long_parts, forbidden, misnamed]


@pytest.mark.parametrize("check", CHECKS)
def test_sources_keep_the_rules(check: Callable[[str, str], list[str]]) -> None:
    found = sources()
    assert len(found) > 40
    faults = [
        fault for name, path in found.items() for fault in check(name, path.read_text(encoding="utf-8"))
    ]
    assert faults == []


VIOLATIONS = [
    (wrong_imports, "uibe.functional.losses", "import numpy"),
    (wrong_imports, "uibe.functional.losses", "from uibe.errors import ConfigError"),
    (wrong_imports, "uibe.functional.losses", "def f():\n    from uibe import modules"),
    (wrong_imports, "uibe.functional.losses", "import torchmetrics"),
    (wrong_imports, "uibe.modules.basis", "from pytorch_lightning import LightningModule"),
    (wrong_imports, "uibe.modules.basis", "import uibe.data.broden"),
    (wrong_imports, "uibe.modules.basis", "from . import rotation"),
    (wrong_imports, "uibe.metrics.dissection", "from uibe.data import broden"),
    (wrong_imports, "uibe.data.cache", "from datamodules import BrodenDataModule"),
    (wrong_imports, "uibe.errors", "import torch"),
    (wrong_imports, "uibe.files", "from uibe.errors import DataError"),
    (wrong_imports, "uibe.functional.losses", "from uibe.files import publish"),
    (wrong_imports, "uibe.library.detector", "from lightning_modules import BasisModule"),
    (wrong_imports, "uibe.library.detector", "import pytorch_lightning"),
    (wrong_imports, "lightning_modules.basis", "import datamodules"),
    (wrong_imports, "lightning_modules.basis", "from callbacks import FiguresCallback"),
    (wrong_imports, "callbacks.figures", "from uibe.data.broden import verify"),
    (wrong_imports, "datamodules.broden", "from uibe.metrics import dissection"),
    (wrong_imports, "evaluate", "import train"),
    (long_parts, "uibe.a", "x = 1\n" * 301),
    (long_parts, "uibe.a", "def f():\n" + "    x = 1\n" * 60),
    (forbidden, "uibe.a", "print(1)"),
    (forbidden, "uibe.a", "tensor.cuda()"),
    (forbidden, "uibe.a", "try:\n    f()\nexcept:\n    pass"),
    (forbidden, "uibe.a", "torch.load(path, weights_only=False)"),
    (forbidden, "uibe.a", "torch.load(path, weights_only=None)"),
    (misnamed, "uibe.data.utils", ""),
]


@pytest.mark.parametrize(("check", "module", "source"), VIOLATIONS)
def test_checks_catch_a_violation(check: Callable[[str, str], list[str]], module: str, source: str) -> None:
    assert check(module, source)


ALLOWED = [
    (wrong_imports, "uibe.functional.losses", "import math\nimport torch.nn.functional as F"),
    (wrong_imports, "uibe.functional.losses", "from uibe.functional.moments import Moments"),
    (wrong_imports, "callbacks.figures", "from callbacks.dissection import DissectionCallback"),
    (long_parts, "uibe.a", "x = 1\n" * 300),
    (long_parts, "uibe.a", 'def f():\n    """' + "\n" * 70 + '    """\n' + "    x = 1\n" * 59),
    (forbidden, "uibe.a", "torch.load(path, weights_only=True)"),
]


@pytest.mark.parametrize(("check", "module", "source"), ALLOWED)
def test_checks_let_the_rest_pass(check: Callable[[str, str], list[str]], module: str, source: str) -> None:
    assert check(module, source) == []


def test_every_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {
        _dotted(path / "__init__.py") for path in {source.parent for source in sources().values()} - {ROOT}
    }
    assert set(project["tool"]["setuptools"]["packages"]) == folders


def test_every_package_has_an_init_file() -> None:
    folders = {source.parent for source in sources().values()} - {ROOT}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
