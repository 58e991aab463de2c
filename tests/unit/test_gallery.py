"""The audit's page: what it holds, what it costs, and what a stranger's text may do on it."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audits import Audit, row
from countclip.report import audit_page
from countclip.runtime.resources import resource

SCHEMES = re.compile(r":root \{(.*?)\}", re.S)


def data_of(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_the_page_counts_each_status_and_class(tmp_path) -> None:
    audit = Audit(tmp_path, [row(2), row(2, "moved"), row(3, "dead"), row(3), row(9, "dns")])
    text = audit.render("3,exclude,,,,,,shows four\n").read_text()
    for status, count in (("alive", 2), ("moved", 1), ("dead", 1), ("dns", 1)):
        assert re.search(rf'data-value="{status}".*?class="count">{count}<', text, re.S), status
    table = {
        name: re.findall(r"<td[^>]*>(\d+)</td>", cells)
        for name, cells in re.findall(r'<th scope="row">(\w+)</th>(.*?)</tr>', text, re.S)
    }
    # rows, original, repaired, with what is decided on the page
    assert table["two"] == ["2", "2", "2", "2"]
    assert table["three"] == ["2", "1", "0", "0"]
    assert table["nine"] == ["1", "0", "0", "0"]
    assert text.count("data:image/jpeg") == 3
    assert data_of(audit.page)["repairs"]["3"]["reason"] == "shows four"


def test_a_list_of_rows_has_a_column_of_its_own(tmp_path) -> None:
    audit = Audit(tmp_path, [row(2), row(2), row(3), row(3, "dead")])
    assert ">intersection<" not in audit.render().read_text()
    (tmp_path / "indices.txt").write_text("0\n3 # dead by now\n")
    text = audit.render(intersection=str(tmp_path / "indices.txt")).read_text()
    assert ">intersection<" in text
    cells = re.search(r'<th scope="row">two</th>(.*?)</tr>', text, re.S)[1]
    assert re.findall(r"<td[^>]*>(\d+)</td>", cells) == ["2", "2", "2", "1", "2"]


def test_a_mended_row_shows_the_picture_that_stands_in(tmp_path) -> None:
    audit = Audit(tmp_path, [row(2), row(3, "dead")])
    before = audit.render().read_text().count("data:image/jpeg")
    (tmp_path / "mine.png").write_bytes(
        (Path(resource("resources/miniature/images")) / "194.png").read_bytes()
    )
    text = audit.render("1,replace,,mine.png,,a photo of mine,CC0,\n").read_text()
    assert (before, text.count("data:image/jpeg")) == (1, 2)
    assert [known["mended"] for known in data_of(audit.page)["rows"]] == [False, True]


HOSTILE = (
    '<img src=x onerror="window.hacked=1"> two',
    "</script><script>window.hacked=1</script> two",
    "<!--<script> two",
    '" onmouseover="window.hacked=1" two',
)


def test_texts_of_the_web_are_no_markup(tmp_path) -> None:
    urls = ("javascript:window.hacked=1", 'https://x.org/"><script>hacked</script>')
    rows = [row(2, caption=caption) for caption in HOSTILE]
    rows += [row(2, "dead", url=url, detail="<i>x</i>") for url in urls]
    audit = Audit(tmp_path, rows)
    text = audit.render('0,exclude,,,,,,"</script><i>why</i>"\n').read_text()
    assert text.count("<script") == text.count("</script>") == 2
    for tag in ("<img src=x", "<i>", "<!--"):
        assert tag not in text, tag
    assert '" onmouseover="' not in text
    assert 'href="javascript' not in text
    assert [known["caption"] for known in data_of(audit.page)["rows"]][:4] == list(HOSTILE)


def test_the_page_says_when_it_is_the_miniature_and_where_the_download_goes(tmp_path) -> None:
    audit = Audit(tmp_path, [row(2)])
    assert "miniature" not in audit.render().read_text()
    assert "The miniature is a tiny model" in audit.render(scale="miniature").read_text()
    assert "resources/countbench/repairs.csv" in audit.page.read_text()


def test_the_same_audit_gives_the_same_bytes(tmp_path) -> None:
    audit = Audit(tmp_path, [row(2), row(3, "dead")])
    assert audit.render().read_bytes() == audit.render().read_bytes()


def test_files_of_another_list_are_refused(tmp_path) -> None:
    audit = Audit(tmp_path, [row(2), row(3)])
    audit.render()
    entries = json.loads(audit.list.read_text())
    entries[1]["image_url"] = "https://example.org/other.jpg"
    audit.list.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"audit.csv is not of .*list.json"):
        audit.render_page()


@pytest.mark.parametrize("side", [40, 2000])
def test_a_thumbnail_keeps_to_its_share_and_never_grows(side) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    share = audit_page.PICTURES // 540
    uri = audit_page.thumbnail(Image.fromarray(noise), share)
    body = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert len(body) <= share
    assert max(Image.open(io.BytesIO(body)).size) <= side


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_of_aa(scheme) -> None:
    style = Path(resource("resources/page.css")).read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", s)) for s in SCHEMES.findall(style))
    colours = light if scheme == "light" else light | dark

    def contrast(a: str, b: str) -> float:
        low, high = sorted(luminance(colours[name]) for name in (a, b))
        return (high + 0.05) / (low + 0.05)

    texts = [
        (t, g) for t in ("text", "quiet", "accent", "good", "bad") for g in ("ground", "raised")
    ]
    for text, ground in [*texts, ("text", "mark"), ("on-accent", "accent")]:
        assert contrast(text, ground) >= 4.5, (text, ground)
    for part in ("edge", "accent", "good", "bad"):  # borders of fields, bars
        assert contrast(part, "ground") >= 3, part
