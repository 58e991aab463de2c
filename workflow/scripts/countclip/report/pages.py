"""Self-contained HTML pages that escape all text, and the stamps of miniature and partial runs."""

import base64
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup


class Stamp(NamedTuple):
    """Warning shown on results of miniature and partial runs: short form and full text."""

    short: str
    text: str


STAMPS = {
    "miniature": Stamp(
        "Miniature: not CLIP's numbers",
        "The miniature is a tiny model trained on drawn scenes alone; photographs are new to it."
        " Its numbers show that the workflow works and say nothing about CLIP. Only values marked"
        " as the paper's are CLIP's.",
    ),
    "partial": Stamp(
        "Partial run: not the whole experiment",
        "This partial run has fewer parts, variants, seeds or images than the whole experiment. Its"
        " numbers may differ for that reason alone.",
    ),
    "paper": None,
}


def stamp(scale: str) -> Stamp | None:
    """Stamp of every table, figure and page of a run, or None.

    scale: as in the config; KeyError for an unknown one.
    """
    return STAMPS[scale]


def render(template: str | Path, *, styles: list[str], script: str = "", **values: Any) -> str:
    """A template as a page, with the style sheets and the script of its folder inside.

    styles, script: file names beside the template. All text is escaped; the page's policy lets a
        browser run these files, show images that the page itself holds, and nothing else.
    values: variables of the template; a missing one is an error.
    """
    folder = Path(template).parent
    style = "".join((folder / name).read_text(encoding="utf-8") for name in styles)
    code = (folder / script).read_text(encoding="utf-8") if script else ""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(Path(template).read_text(encoding="utf-8")).render(
        style=Markup(style), script=Markup(code), policy=_policy(style, code), **values
    )


def _policy(style: str, script: str) -> str:
    """Content Security Policy 3 of a page: inline style and script by their digests."""
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none';"
        f" style-src {_source(style)}; script-src {_source(script)}"
    )


def _source(text: str) -> str:
    if not text:
        return "'none'"
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
