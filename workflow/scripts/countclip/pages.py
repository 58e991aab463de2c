"""How does a result become a page? One file that needs no server, and that trusts nobody's text."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup


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
