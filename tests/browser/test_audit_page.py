"""A person mends the benchmark on the audit's page, in a real browser."""

import csv
import json
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from audits import HEADER, Audit, picture, row
from countclip.benchmarks import repairs_csv
from countclip.data.number_words import WORDS
from countclip.report.audit_page import PICTURES
from countclip.runtime.files import sha256

STATUSES = ("alive", "alive", "moved", "dead", "dns", "placeholder")


@pytest.fixture(scope="module")
def audit(tmp_path_factory) -> Audit:
    """54 rows: each class with six statuses; two rows are in repairs.csv already."""
    audit = Audit(
        tmp_path_factory.mktemp("audit"),
        [row(number, status) for number, status in product(range(2, 11), STATUSES)],
    )
    (audit.folder / "images").mkdir()
    (audit.folder / "images/3.png").write_bytes(picture(103))
    audit.render(
        f"3,replace,,images/3.png,{sha256(picture(103))},photo of mine,CC0,\n"
        '6,exclude,,,,,,"shows four, not three"\n'
    )
    return audit


def keys(browser, *pressed: str) -> None:
    for key in pressed:
        browser.switch_to.active_element.send_keys(key)


def focused(browser) -> str:
    return browser.run("return document.activeElement.id")


def shown(browser) -> list[int]:
    return browser.run(
        "return [...document.querySelectorAll('.card')]"
        ".filter((card) => !card.hidden).map((card) => +card.dataset.index)"
    )


def choose(browser, name: str, value: str) -> None:
    browser.run(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', { bubbles: true }))",
        name,
        value,
    )


def fill(browser, **fields: str) -> None:
    for name, value in fields.items():
        field = browser.find_element(By.ID, name)
        field.clear()
        field.send_keys(value)


def press(browser, name: str) -> None:
    browser.find_element(By.ID, name).click()


def text(browser, name: str) -> str:
    return browser.find_element(By.ID, name).text


def download(browser) -> str:
    press(browser, "download")
    return browser.downloaded("repairs.csv").read_text(encoding="utf-8")


def leave(browser) -> None:
    """As after a download: no question whether to leave the page."""
    browser.run("downloaded = JSON.stringify(changes())")


def read(path: Path, content: str, rows: int) -> dict[int, dict]:
    """What the workflow reads of a repairs.csv."""
    path.write_text(content, encoding="utf-8")
    problems = []
    found = repairs_csv.read_repairs(path, rows, problems)
    assert problems == []
    return {entry["index"]: entry for _, entry in found}


def test_rows_are_filtered_by_status_class_decision_and_words(browser, audit) -> None:
    browser.open(audit.page)
    assert shown(browser) == list(range(54))
    choose(browser, "status", "dns")
    assert shown(browser) == list(range(4, 54, 6))
    choose(browser, "class", "10")
    assert shown(browser) == [52]
    press(browser, "clear")
    choose(browser, "status", "-")
    assert len(shown(browser)) == 27
    choose(browser, "status", "+")
    assert len(shown(browser)) == 27
    choose(browser, "status", "")
    fill(browser, search="SEVEN #31")
    assert shown(browser) == [31]
    assert text(browser, "shown") == "1"
    fill(browser, search="nothing like it")
    assert shown(browser) == []
    assert browser.find_element(By.ID, "empty").is_displayed()
    press(browser, "clear")
    choose(browser, "decision", "replace")
    assert shown(browser) == [3]
    press(browser, "clear")
    press(browser, "show-missing")  # neither usable nor mended, and the excluded one
    assert len(shown(browser)) == 27 == int(text(browser, "missing"))
    press(browser, "clear")
    bar = browser.find_element(By.CSS_SELECTOR, '.bar[data-value="placeholder"]')
    bar.click()
    assert shown(browser) == list(range(5, 54, 6))
    assert bar.get_attribute("aria-pressed") == "true"
    bar.click()
    assert len(shown(browser)) == 54


def test_everything_can_be_done_with_keys(browser, audit) -> None:
    browser.open(audit.page)
    keys(browser, Keys.ARROW_RIGHT)
    assert focused(browser) == "row-1"
    across = browser.run("return getComputedStyle(grid).gridTemplateColumns.split(' ').length")
    keys(browser, Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    assert focused(browser) == f"row-{across}"
    keys(browser, Keys.ARROW_UP)
    assert focused(browser) == "row-0"
    keys(browser, Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert focused(browser) == "row-0"
    keys(browser, Keys.END)
    assert focused(browser) == "row-53"
    keys(browser, Keys.HOME, Keys.ARROW_RIGHT, "x")
    assert focused(browser) == "reason"
    keys(browser, "a blurred picture /?", Keys.ENTER)  # here / and ? are letters
    assert focused(browser) == "row-1"
    assert "excluded" in text(browser, "row-1")
    keys(browser, "/")
    assert focused(browser) == "search"
    keys(browser, Keys.ESCAPE)
    assert focused(browser) == "row-1"
    keys(browser, "?")
    assert browser.find_element(By.ID, "help").is_displayed()
    keys(browser, Keys.ESCAPE)
    assert not browser.find_element(By.ID, "help").is_displayed()
    keys(browser, "u")
    assert "excluded" not in text(browser, "row-1")
    keys(browser, "r")
    assert focused(browser) == "url"
    keys(browser, Keys.ESCAPE, "u", Keys.ESCAPE)
    assert not browser.find_element(By.ID, "panel").is_displayed()
    assert text(browser, "changes") == ""


def test_the_form_shows_the_decision_of_its_row_alone(browser, audit) -> None:
    browser.open(audit.page)
    for index in (1, 2):
        browser.find_element(By.ID, f"row-{index}").click()
        checked = browser.find_element(By.CSS_SELECTOR, ".choices :checked")
        assert checked.get_attribute("value") == ""
        browser.find_element(By.CSS_SELECTOR, ".choices label:last-child").click()
        fill(browser, url=f"https://example.org/{index}", provenance="web")
    assert text(browser, "changes") == "2 changes"
    browser.find_element(By.CSS_SELECTOR, ".choices label:first-child").click()
    assert text(browser, "changes") == "1 change"
    leave(browser)


def test_a_search_without_a_row_says_so_beside_the_chosen_one(browser, audit) -> None:
    browser.open(audit.page)
    keys(browser, Keys.ENTER)
    choose(browser, "search", "nothing like this")
    empty, panel = (browser.find_element(By.ID, name).rect for name in ("empty", "panel"))
    assert empty["x"] + empty["width"] <= panel["x"]
    assert empty["y"] < panel["y"] + panel["height"] / 2
    browser.run("document.activeElement.blur()")
    keys(browser, "x")  # of a row that nobody sees
    assert text(browser, "changes") == ""


def test_a_long_caption_shows_its_number_word_and_keeps_the_form_near(browser, tmp_path) -> None:
    long = "🐈 cats and " * 800 + "two" + " more cats" * 800
    browser.open(Audit(tmp_path, [row(2, caption=long)]).render())
    keys(browser, Keys.ENTER)
    assert browser.find_element(By.ID, "panel-caption").text == long
    for caption in (".card .caption", ".panel-caption"):
        box = browser.find_element(By.CSS_SELECTOR, caption).rect
        mark = browser.find_element(By.CSS_SELECTOR, f"{caption} mark")
        assert mark.text == "two"
        assert box["y"] <= mark.rect["y"] <= box["y"] + box["height"] - mark.rect["height"]
    form = browser.find_element(By.ID, "form").rect["y"]
    assert form - browser.find_element(By.ID, "panel").rect["y"] < 900


def test_n_follows_the_decisions(browser, audit) -> None:
    browser.open(audit.page)
    n = int(text(browser, "n"))
    assert n == json.loads(audit.summary.read_text())["repaired"]["n"]
    row_of_two = browser.find_element(By.CSS_SELECTOR, '[data-number="2"] .yours')
    before = int(row_of_two.text)
    keys(browser, Keys.ARROW_RIGHT, "x")
    assert int(text(browser, "n")) == n - 1
    assert int(row_of_two.text) == before - 1
    keys(browser, Keys.ESCAPE, "a")
    assert int(text(browser, "n")) == n
    assert text(browser, "changes") == "1 change"


# As a person types them: what the page says of each must be what the workflow says.
FILLED = {"provenance": "web", "reason": "why"}
SHA = sha256(picture(5))
ENTRIES = [
    (5, {"action": "accept", "reason": "fine"}),
    (5, {"action": "accept", "reason": " \x1f\u00a0"}),
    (5, {"action": "accept", "reason": "fine", "sha256": SHA.upper()}),
    (5, {"action": "accept", "reason": "fine", "sha256": "0" * 64}),
    (4, {"action": "accept", "reason": "fine"}),
    (4, {"action": "exclude", "reason": "gone"}),
    (4, {"action": "exclude", "url": "https://example.org", **FILLED}),
    (4, {"action": "exclude"}),
    (4, {"action": "replace", "file": "images/3.png", "provenance": "mine"}),
    (4, {"action": "replace", "file": "./images/../images/3.png", "provenance": "mine"}),
    (4, {"action": "replace", "file": "images/3.png"}),
    (4, {"action": "replace", "file": "../audit.csv", **FILLED}),
    (4, {"action": "replace", "file": "images/../../audit.csv", **FILLED}),
    (4, {"action": "replace", "file": "/etc/passwd", **FILLED}),
    (4, {"action": "replace", "file": "images/3.png", "sha256": "abc", **FILLED}),
    (4, {"action": "replace", "file": "images/3.png", "url": "https://example.org", **FILLED}),
    (4, {"action": "replace", **FILLED}),
    (4, {"action": "replace", "url": "javascript:alert(1)", **FILLED}),
    (4, {"action": "replace", "url": "data:image/png;base64,AA", **FILLED}),
    (4, {"action": "replace", "url": "file:///etc/passwd", **FILLED}),
    (4, {"action": "replace", "url": "example.org/x.jpg", **FILLED}),
]


@pytest.mark.parametrize(("index", "entry"), ENTRIES)
def test_the_page_and_the_workflow_agree_on_a_line(browser, audit, index, entry) -> None:
    browser.open(audit.page)
    wrong = browser.run(
        "set(arguments[0], { ...Object.fromEntries(FIELDS.map((f) => [f, ''])), ...arguments[1] });"
        "return problemsAt(arguments[0])",
        index,
        entry,
    )
    content = browser.run("return csv()")
    leave(browser)
    known = audit.repairs.read_text().removeprefix(HEADER)
    problem = ""
    try:
        audit.repair(content.removeprefix(HEADER))
    except ValueError as error:
        problem = str(error)
    audit.repair(known)
    assert bool(wrong) == bool(problem), (wrong, problem)


TEXTS = [
    "=HYPERLINK(1)", "+1", "-1", "@x", "＝1", 'he said "four", twice', "two\nlines", "a,b;c\td",
    "  spaces  ", "'quoted", "naïve ≠ 四 🐈", "</script><script>x</script>", "\ufeffx",
]  # fmt: skip


def test_any_text_survives_the_download_and_is_no_formula(browser, audit, tmp_path) -> None:
    browser.open(audit.page)
    browser.run(
        "arguments[0].forEach((reason, place) =>"
        " set(10 + place, { ...Object.fromEntries(FIELDS.map((f) => [f, ''])),"
        " action: 'exclude', reason }))",
        TEXTS,
    )
    content = download(browser)
    found = read(tmp_path / "repairs.csv", content, 54)
    assert [found[10 + place]["reason"] for place in range(len(TEXTS))] == [
        reason.strip().removeprefix("\ufeff") for reason in TEXTS
    ]
    with open(tmp_path / "repairs.csv", encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@＝"))]
    # Those that were there are there unchanged.
    known = audit.repairs.read_text().removeprefix(HEADER).splitlines()
    assert content.splitlines()[1 : 1 + len(known)] == known


def test_what_is_missing_is_said_before_the_download(browser, audit) -> None:
    browser.open(audit.page)
    keys(browser, Keys.ARROW_RIGHT, "x", Keys.ESCAPE, Keys.ARROW_RIGHT, "r")
    fill(browser, url="javascript:window.hacked=1")
    assert "http://" in text(browser, "url-problem")
    press(browser, "download")
    listed = text(browser, "problem-list")
    assert "Row 1" in listed
    assert "needs a reason" in listed
    assert "Row 2" in listed
    assert "where the image comes from" in listed
    assert not browser.downloads.exists()
    browser.find_element(By.CSS_SELECTOR, "#problem-list button").click()
    assert focused(browser) == "row-1"
    choose(browser, "decision", "incomplete")
    assert shown(browser) == [1, 2]
    assert browser.run("return window.hacked") is None


def test_work_in_progress_stays_until_the_audit_changes(browser, audit) -> None:
    browser.open(audit.page)
    keys(browser, Keys.ARROW_RIGHT, "x", "shows three", Keys.ENTER)
    leaving = (
        "const leaving = new Event('beforeunload', { cancelable: true });"
        "window.dispatchEvent(leaving); return leaving.defaultPrevented"
    )
    assert browser.run(leaving)
    download(browser)
    assert not browser.run(leaving)
    browser.open(audit.page)
    assert text(browser, "changes") == "1 change"
    assert "again" in text(browser, "said")
    assert "excluded" in text(browser, "row-1")
    # By now somebody has changed repairs.csv by hand: both count.
    before = audit.repairs.read_text().removeprefix(HEADER)
    audit.render(before + "9,exclude,,,,,,by hand\n")
    leave(browser)
    browser.open(audit.page)
    assert {1, 3, 6, 9} == set(browser.run("return [...decisions.keys()]"))
    browser.find_element(By.CSS_SELECTOR, "#said button").click()
    assert {3, 6, 9} == set(browser.run("return [...decisions.keys()]"))
    audit.render(before)


def test_a_browser_that_keeps_nothing_is_no_reason_to_fail(browser, audit) -> None:
    script = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no') } })"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        browser.open(audit.page)
        assert "keeps nothing" in text(browser, "said")
        keys(browser, Keys.ARROW_RIGHT, "x", "shows three", Keys.ENTER)
        assert "1,exclude,,,,,,shows three\n" in download(browser)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_file_of_the_machine_gives_its_name_and_hash(browser, audit, tmp_path) -> None:
    (tmp_path / "mine.png").write_bytes(picture(7))
    browser.open(audit.page)
    keys(browser, Keys.ARROW_RIGHT, "r")
    browser.find_element(By.ID, "pick").send_keys(str(tmp_path / "mine.png"))
    fill(browser, provenance="photo of mine")
    for _ in range(100):
        if browser.run("return decisions.get(1).sha256"):
            break
    line = f"1,replace,,images/mine.png,{sha256(picture(7))},photo of mine,,\n"
    assert line in download(browser)


def test_an_offer_is_seen_and_taken(browser, tmp_path) -> None:
    audit = Audit(tmp_path, [row(2), row(3, "dead"), row(4, "dead")])
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.png").write_bytes(picture(200))
    lines = (
        f"1,replace,,images/1.png,{sha256(picture(200))},a copy of the benchmark,,dead",
        "2,replace,https://archive.example.org/2.jpg,,,an archive,,dead",
    )
    audit.offered.write_text(HEADER + "\n".join(lines) + "\n")
    browser.open(audit.render())
    keys(browser, Keys.ENTER)
    assert not browser.find_element(By.ID, "offer").is_displayed()
    for index in (1, 2):
        browser.find_element(By.ID, f"row-{index}").click()
        assert bool(browser.find_elements(By.CSS_SELECTOR, "#offer img")) == (index == 1)
        press(browser, "take")
        if index == 1:
            assert "Copy" in text(browser, "said")
    assert download(browser).splitlines()[1:] == list(lines)
    assert "images beside it" in text(browser, "said")
    browser.find_element(By.ID, "row-1").click()
    browser.run("document.activeElement.blur()")
    keys(browser, "r")  # to look at it again changes nothing of it
    assert browser.run("return csv()").splitlines()[1:] == list(lines)
    keys(browser, Keys.ESCAPE, "x", Keys.ESCAPE, Keys.ARROW_RIGHT, "u", "t")
    content = browser.run("return csv()").splitlines()[1:]
    assert content == ["1,exclude,,,,,,dead", lines[1]]
    leave(browser)


HOSTILE = (
    "<img src=x onerror=\"window.hacked='caption'\"> two",
    "</script><script>window.hacked='script'</script> two",
    "<!--<script> two",
    '" onfocus="window.hacked=\'attribute\'" two',
    "\u202etwo cats",
)


def test_texts_of_strangers_do_nothing(browser, tmp_path) -> None:
    bad = ("javascript:window.hacked='link'", "JaVaScRiPt:window.hacked='link'",
           "data:text/html,<script>window.hacked='data'</script>", "\x01javascript:hacked",
           'https://x.org/"onmouseover="window.hacked=1')  # fmt: skip
    rows = [row(2, caption=caption) for caption in HOSTILE]
    rows += [row(2, "dead", url=url, final_url=url, detail=HOSTILE[0]) for url in bad]
    hostile = Audit(tmp_path, rows)
    quoted = HOSTILE[0].replace('"', '""')
    page = hostile.render(f'0,exclude,,,,{HOSTILE[2]},,"{quoted}"\n')
    browser.open(page)
    for index in range(len(rows)):
        browser.find_element(By.ID, f"row-{index}").click()
        caption = browser.find_element(By.ID, "panel-caption")
        assert "two" in caption.text
        for link in browser.find_elements(By.CSS_SELECTOR, "#panel a"):
            assert link.get_attribute("href").startswith("https://")
            assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    assert text(browser, "evidence").count("window.hacked") >= 1  # shown, as text
    browser.find_element(By.ID, "row-0").click()
    assert browser.find_element(By.ID, "reason").get_attribute("value") == HOSTILE[0]
    handlers = "[onerror], [onfocus], [onmouseover], img[src=x]"
    assert not browser.find_elements(By.CSS_SELECTOR, handlers)
    assert browser.run("return window.hacked") is None
    browser.assert_refuses(HOSTILE[0])


def test_a_phone_shows_it_all_in_its_width(browser, audit) -> None:
    browser.size(390, 844, mobile=True)
    browser.open(audit.page)
    width = "return document.documentElement.scrollWidth"
    assert browser.run(width) == 390
    browser.find_element(By.ID, "row-4").click()
    panel = browser.find_element(By.ID, "panel")
    assert panel.is_displayed()
    assert panel.rect["width"] == 390
    browser.find_element(By.CSS_SELECTOR, ".choices label:last-child").click()
    fill(browser, url="https://example.org/" + "long/" * 60, provenance="a" * 200)
    assert browser.run(width) == 390
    assert browser.run("return panel.scrollWidth <= panel.clientWidth")
    press(browser, "panel-close")
    assert not panel.is_displayed()
    assert "replaced, new" in text(browser, "row-4")
    press(browser, "help-open")
    assert browser.find_element(By.ID, "help").rect["width"] < 390


def test_every_control_has_a_name_for_those_who_do_not_see_it(browser, audit) -> None:
    browser.open(audit.page)
    keys(browser, Keys.ARROW_RIGHT, "r")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        role: [n["name"]["value"] for n in nodes if n.get("role", {}).get("value") == role]
        for role in ("button", "textbox", "searchbox", "combobox", "option", "listbox", "radio")
    }
    for role, names in named.items():
        assert names, role
        assert all(names), (role, names)
    row_name = next(name for name in named["option"] if name.startswith("row 3,"))
    for word in ("dead", "two", "replaced"):
        assert word in row_name


def test_a_page_of_540_rows_is_light_and_at_hand(browser, tmp_path) -> None:
    statuses = [STATUSES[index % 6] for index in range(540)]
    long = "a photo of {} cats, " + "on a roof " * 15
    large = Audit(
        tmp_path,
        [
            row(2 + i % 9, status, caption=long.format(WORDS[2 + i % 9]))
            for i, status in enumerate(statuses)
        ],
    )
    page = large.render()
    pictures = page.read_text().count("data:image/jpeg")
    assert pictures == 4 * 90
    held = sum(len(part.split('"')[0]) for part in page.read_text().split("data:image/jpeg")[1:])
    # Whatever the pictures are, they keep to their share (test_gallery.py).
    assert page.stat().st_size - held + PICTURES * 4 / 3 <= 15_000_000
    browser.open(page)
    keys(browser, Keys.END)
    assert focused(browser) == "row-539"
    assert browser.run("return performance.getEntriesByType('paint').length") > 0


def test_the_download_changes_exactly_its_rows_in_a_real_run(browser, finished, tmp_path) -> None:
    workflow = finished.copy(tmp_path / "checkout")
    (tmp_path / "repairs.csv").write_text(HEADER, encoding="utf-8")
    mine = {"countbench": {"repairs": str(tmp_path / "repairs.csv")}}
    benchmark = workflow.folder / "results/countbench/benchmark.parquet"
    workflow("results/countbench/audit.html", **mine)
    before = pd.read_parquet(benchmark).set_index("index")
    missing = before.index[~before["repaired"]].tolist()
    present = before.index[before["original"]].tolist()

    browser.open(workflow.folder / "results/countbench/audit.html")
    assert "The miniature is a tiny model" in browser.find_element(By.TAG_NAME, "header").text
    expected = {}
    for place, index in enumerate([*missing[:5], *present[:5]]):
        card = browser.find_element(By.ID, f"row-{index}")
        browser.run("arguments[0].focus()", card)
        browser.run("choose(arguments[0])", index)
        if place < 5:
            (tmp_path / f"mine-{index}.png").write_bytes(picture(1000 + index))
            keys(browser, "r")
            fill(browser, file=f"mine-{index}.png", provenance='a "photo", mine', reason="=gone")
            expected[index] = "repaired"
        elif place < 8:
            keys(browser, "x", "shows another number", Keys.ENTER)
            expected[index] = "excluded"
        else:
            keys(browser, "a", "looked at, it is right", Keys.ENTER)
            expected[index] = "accepted"
    assert text(browser, "changes") == "10 changes"
    n = int(text(browser, "n"))
    (tmp_path / "repairs.csv").write_text(download(browser), encoding="utf-8")

    planned = workflow.plan("results/table1.csv", "results/countbench/audit.html", **mine)
    assert planned.keys().isdisjoint({"audit_countbench", "ask_countbench"})
    assert planned["repair_countbench"] == planned["render_audit"] == 1
    workflow("results/countbench/audit.html", **mine)
    after = pd.read_parquet(benchmark).set_index("index")
    changed = after.index[[not after.loc[i].equals(before.loc[i]) for i in after.index]]
    assert {index: after["status"][index] for index in changed} == expected
    assert int(after["repaired"].sum()) == n
