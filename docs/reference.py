"""MkDocs hook: a page for each public module of `uibe`, made from its docstrings, so that no list is kept."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def modules() -> list[str]:
    """Dotted names of the modules that have public names, packages before what they hold."""
    paths = sorted((ROOT / "uibe").rglob("*.py"), key=_packages_first)
    public = [path for path in paths if "__all__" in path.read_text(encoding="utf-8")]
    return [_dotted(path) for path in public]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation, by package."""
    packages: dict[str, list[dict[str, str]]] = {}
    for name in modules():
        package = ".".join(name.split(".")[:2]) if name.count(".") > 1 else "uibe"
        packages.setdefault(package, []).append({name: f"reference/{name}.md"})
    sections = [{package: pages} for package, pages in packages.items()]
    config.nav = [*(config.nav or []), {"API reference": sections}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages themselves."""
    for name in modules():
        files.append(File.generated(config, f"reference/{name}.md", content=f"::: {name}\n"))
    return files


def _packages_first(path: Path) -> tuple[Path, bool, str]:
    return path.parent, path.name != "__init__.py", path.name


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
