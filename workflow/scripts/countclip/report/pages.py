"""How does a result become a page? One file that needs no server, and that trusts nobody's text.

And what must be stamped on it, and on every table and figure?
"""

import base64
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup


class Stamp(NamedTuple):
    """What a result says of itself that is not the whole experiment: in a few words, at length."""

    short: str
    text: str


STAMPS = {
    "miniature": Stamp(
        "Miniature: not CLIP's numbers",
        "These are numbers of the embedded miniature, a tiny model on drawn scenes. They say"
        " that the workflow works, and nothing about CLIP. What stands beside them as the"
        " paper's is CLIP's.",
    ),
    "partial": Stamp(
        "Partial run: not the whole experiment",
        "This run is a part of the experiment: it has fewer parts, variants, seeds or images than"
        " the whole, and its numbers may differ from those of the whole for that reason alone.",
    ),
    "paper": None,
}


def stamp(scale: str) -> Stamp | None:
    """What every table, figure and page of a run must be stamped with, if anything.

    scale: as in the config; KeyError for one that nobody has thought about.
    """
    return STAMPS[scale]


def render(template: str | Path, *, styles: list[str], script: str = "", **values: Any) -> str:
    """A template as a page, with the style sheets and the script of its folder inside.

    styles, script: names of files beside the template. Its text is escaped, and its policy lets a
        browser run these files, show pictures that the page itself holds, and nothing else.
    values: what the template shows; one that it names and nobody gives is an error.
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
    """What the page may do (Content Security Policy 3): what stands in it by these digests."""
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none';"
        f" style-src {_source(style)}; script-src {_source(script)}"
    )


def _source(text: str) -> str:
    if not text:
        return "'none'"
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
