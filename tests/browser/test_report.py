"""The report in a real browser: strangers' texts do nothing, and it fits every screen."""

import base64

import pytest
from selenium.webdriver.common.by import By

from countclip.report import pages
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
    run.add_sheet("retention.json", ("x",), notes=["a note", "another"])
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


EDGES = """return [...document.querySelectorAll(arguments[0])]
    .map((part) => part.getBoundingClientRect()).map((box) => [box.left, box.right])"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("baseline", [4.0, 30.43, 50.1, 88.0])
def test_the_plot_shows_every_number_at_its_place(
    browser, tmp_path, monkeypatch, width, baseline
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [("baseline", baseline, None), ("a", 60.0, 1e-5), ("b", 0.0, 0.01), ("c", 31.5, 0.7)]
    browser.size(width, 844, mobile=width < 500)
    browser.open(Run(rows=rows, labels={"c": "word " * 100}).render())
    (left, right), *_ = browser.run(EDGES, ".track")
    ticks = browser.run(EDGES, "line.tick")
    assert [ticks[0][0], ticks[-1][0]] == pytest.approx([left, right], abs=1)
    end = 100 if baseline == 88 else 80
    sorted_rows = sorted(rows, key=lambda row: -row[1])
    circles = [(a + b) / 2 for a, b in browser.run(EDGES, ".track circle")]
    places = [left + accuracy / end * (right - left) for _, accuracy, _ in sorted_rows]
    assert circles == pytest.approx(places, abs=1)
    for kind, value in (("baseline", baseline), ("chance", 100 / 9)):
        ((line_left, line_right),) = browser.run(EDGES, f"line.{kind}")
        place = left + value / end * (right - left)
        assert (line_left + line_right) / 2 == pytest.approx(place, abs=1)
        ((text_left, text_right),) = browser.run(EDGES, f"text.{kind}")
        assert 0 <= text_left <= place + 1
        assert place - 1 <= text_right <= width
    fonts = """return [...document.querySelectorAll(".plot text, .plot li span")].map(
        (text) => getComputedStyle(text)).map((style) => [style.fontFamily, style.fontSize])"""
    families, sizes = zip(*browser.run(fonts), strict=True)
    assert set(families) == {browser.run("return getComputedStyle(document.body).fontFamily")}
    assert min(float(size.removesuffix("px")) for size in sizes) >= 11
    heights = "return [...document.querySelectorAll('.name')].map((name) => name.clientHeight)"
    assert max(browser.run(heights)) < 70  # of a long label only the beginning


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scale", ["miniature", "partial"])
def test_the_first_screen_shows_stamp_finding_and_plot(
    browser, tmp_path, monkeypatch, width, scale
) -> None:
    monkeypatch.chdir(tmp_path)
    browser.size(width, 844, mobile=width < 500)
    browser.open(Run().render(scale))
    stamp = browser.find_element(By.CLASS_NAME, "stamp")
    finding = browser.find_element(By.CLASS_NAME, "finding")
    assert stamp.text.startswith(pages.stamp(scale).short)
    assert finding.text.startswith("In this ")
    assert finding.rect["y"] + finding.rect["height"] < 844
    plot = browser.find_element(By.CLASS_NAME, "plot")
    assert pages.stamp(scale).short in plot.text
    assert stamp.rect["y"] < finding.rect["y"] < plot.rect["y"] < 844
    if width == 1280:
        assert plot.rect["y"] + plot.rect["height"] < 844
    lines = browser.find_element(By.CSS_SELECTOR, ".plot svg[role=img]")
    assert lines.accessible_name == "Accuracy at the end of training, % of 506 images"
    described = "return document.getElementById(arguments[0].getAttribute('aria-describedby'))"
    assert "chance 11.1 %" in browser.run(f"{described}.textContent", lines)


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
    seen = "return document.querySelector(arguments[0]).checkVisibility()"
    note = "#retention .notes li"
    colours = set()
    try:
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            colours.add(browser.run(ground))
        assert len(colours) == 2
        assert not browser.run(seen, note)  # folded on a screen
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": "print", "features": features}
        )
        assert browser.run(ground) == "rgb(255, 255, 255)"
        # Notes are unfolded, the contents are gone, the warning and the plot stay.
        assert browser.run(seen, note)
        assert not browser.run(seen, ".contents")
        assert browser.run(seen, ".stamp")
        assert browser.run(seen, ".dots circle")
        printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
