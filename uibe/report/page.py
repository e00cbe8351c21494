"""The report as one static page, from the document that `report.json` holds."""

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.report.charts import Chart, line_chart
from uibe.report.sprites import sprite_size
from uibe.report.titles import FITS, WIDE, share_text

__all__ = ["render_page"]


def render_page(document: Mapping[str, Any]) -> str:
    """HTML of a report; every name in it is escaped, and no script but its own may run.

    Args:
        document: as `commands/report.py` writes it to `report.json`.

    Raises:
        jinja2.UndefinedError: if the document lacks something.
    """
    style, script = _own("page.css"), _own("page.js")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            document,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            by_name={each["name"]: each for each in document["scores"]},
            in_order=_in_order(document),
            score_charts=_score_charts(document),
            firing_charts=_firing_charts(document),
            cut=INTERPRETABLE_IOU,
            wide=WIDE,
            fits=FITS,
            category_names=[each["name"] for each in document["categories"] if each["detectors"]],
        )
    )


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("uibe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = share_text
    environment.globals["sprite_size"] = sprite_size
    return environment


def _own(name: str) -> Markup:
    """A file of ours, which goes into the page as it stands."""
    text = (files("uibe.report") / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - not the user's


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _in_order(document: Mapping[str, Any]) -> list[Any]:
    """Sets of detectors, those of a pair one after the other; then what belongs to none."""
    paired = [name for pair in document["pairs"] for name in (pair["set"], pair["beside"]) if name]
    order = {name: place for place, name in enumerate(paired)}
    return sorted(document["scores"], key=lambda each: order.get(each["name"], len(order)))


def _score_charts(document: Mapping[str, Any]) -> list[Chart]:
    """Two for each pair of bases that fire as often: bases that do not belong in no picture together."""
    found = {each["name"]: each for each in document["scores"]}
    pairs = [[found[name] for name in (pair["set"], pair["beside"]) if name] for pair in document["pairs"]]
    return [
        line_chart(
            f"{what.capitalize()} that reach an IoU: {', beside '.join(each['title'] for each in pair)}",
            "IoU",
            what,
            [(each["title"], each["curves"]["xi"], each["curves"][what]) for each in pair],
        )
        for pair in pairs
        for what in ("detectors", "labels")
    ]


def _firing_charts(document: Mapping[str, Any]) -> list[Chart]:
    comparison = document["comparison"]
    if comparison is None or not comparison["firing"]:
        return []
    return [
        line_chart(
            f"{score} against the firing rate",
            "share of pixels that fire",
            score,
            [(each["name"], each["share"], each[score]) for each in comparison["firing"]],
            logarithmic=True,
        )
        for score in ("S1", "S2")
    ]
