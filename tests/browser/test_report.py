"""The report in a real browser: strangers' texts do nothing, and it fits every screen."""

import base64

import pytest
from selenium.webdriver.common.by import By

from countclip.report.run_page import FOLDED
from countclip.report.sheets import Cell
from reports import LOOSE, Run

HOSTILE = (
    "<img src=x onerror=\"window.hacked='image'\">",
    "</script><script>window.hacked='script'</script>",
    '"><a href="javascript:window.hacked=1">javascript:window.hacked=1</a>',
    "http://tracker.example/pixel.gif ![x](http://tracker.example/pixel.gif)",
    "`</style><link rel=stylesheet href=http://tracker.example/x.css>",
)
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="720" height="300"
onload="window.top.hacked='svg'"><script>window.top.hacked='svg'</script>
<image href="http://tracker.example/pixel.png" width="9"/>
<rect width="720" height="300" fill="teal"/></svg>"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A run whose every text that somebody else may have written is hostile, and long."""
    monkeypatch.chdir(tmp_path)
    run = Run(labels=dict(zip((name for name, *_ in LOOSE), HOSTILE, strict=False)))
    columns = [*HOSTILE, *(f"a column {number}" for number in range(20))]
    rows = [[Cell(text) for text in columns], [Cell("word" * 60) for _ in columns]]
    hostile = {"title": HOSTILE[0], "headers": columns, "notes": [*HOSTILE, "note" * 60]}
    run.add_sheet("paper.json", (), rows=rows, **hostile)
    script = "<script>window.hacked=1</script>"
    run.add_sheet("benchmarks/mine/table.json", *[("=1+1",)] * FOLDED, headers=[script])
    run.add("figures/training_curves.svg", SVG)
    config = {"seeds": [1], "variants": {HOSTILE[0]: {"label": HOSTILE[1] + "x" * 300}}}
    return run.render("miniature", config=config)


def test_texts_of_strangers_do_nothing_and_nothing_is_asked_of_the_network(browser, page) -> None:
    browser.open(page)
    for fold in browser.find_elements(By.TAG_NAME, "summary"):
        fold.click()
    text = browser.find_element(By.TAG_NAME, "body").text
    for hostile in HOSTILE:
        assert hostile in text  # shown, as text
    links = [a.get_attribute("href") for a in browser.find_elements(By.TAG_NAME, "a")]
    assert links
    assert all(link.startswith(page.parent.as_uri()) for link in links)
    assert not browser.find_elements(
        By.CSS_SELECTOR, "script, link, [onerror], [onload], img[src=x]"
    )
    shown = "return [...document.images].map((image) => image.src.slice(0, 14))"
    assert browser.run(shown) == ["data:image/svg"]
    assert browser.run("return document.images[0].naturalWidth") == 720
    asked = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert [name for name in browser.run(asked) if not name.startswith("data:")] == []
    assert browser.run("return window.hacked") is None
    browser.assert_refuses(HOSTILE[0])


@pytest.mark.parametrize("width", [1280, 390])
def test_every_screen_shows_it_in_its_width(browser, page, width) -> None:
    browser.size(width, 844, mobile=width < 500)
    browser.open(page)
    for fold in browser.find_elements(By.TAG_NAME, "summary"):
        fold.click()
    page_of = "const page = document.documentElement; return "
    assert browser.run(page_of + "[innerWidth, page.scrollWidth - page.clientWidth]") == [width, 0]
    # What is wider than the screen scrolls inside itself.
    boxes = browser.find_elements(By.CLASS_NAME, "scroll")
    wide = "return arguments[0].filter((box) => box.scrollWidth > box.clientWidth).length"
    assert browser.run(wide, boxes) >= 1


def test_a_row_has_one_line_below_it(browser, page) -> None:
    browser.open(page)
    widths = """return [...document.querySelectorAll("tbody tr")].map((row) => new Set(
        [...row.children].map((cell) => getComputedStyle(cell).borderBottomWidth)).size)"""
    found = browser.run(widths)
    assert len(found) > 10
    assert set(found) == {1}


def test_it_is_read_on_paper_and_in_the_dark(browser, page) -> None:
    browser.open(page)
    ground = "return getComputedStyle(document.body).backgroundColor"
    colours = set()
    try:
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            colours.add(browser.run(ground))
        assert len(colours) == 2
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": "print", "features": features}
        )
        assert browser.run(ground) == "rgb(255, 255, 255)"
        printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
