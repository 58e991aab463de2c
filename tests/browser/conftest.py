"""A real Chromium for pages that need no server."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

ARGUMENTS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
    "disable-background-networking", "disable-component-update", "disable-sync",
)  # fmt: skip


class Browser(webdriver.Chrome):
    """Chromium with a profile of its own in `folder`, where downloads go too."""

    def __init__(self, program: str, driver: str, folder: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for argument in (*ARGUMENTS, f"user-data-dir={folder / 'profile'}"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options, webdriver.ChromeService(driver))
        self.downloads = folder / "downloads"
        save = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.execute_cdp_cmd("Browser.setDownloadBehavior", save)

    def size(self, width: int, height: int, mobile: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, page: Path) -> None:
        self.get(page.as_uri())

    def run(self, code: str, *arguments: object) -> object:
        return self.execute_script(code, *arguments)

    def assert_refuses(self, markup: str) -> None:
        """What sets `window.hacked` sets nothing even inside the page: its policy stops it."""
        self.run("document.body.insertAdjacentHTML('beforeend', arguments[0])", markup)
        assert self.run("return window.hacked") is None
        refused = [entry["message"] for entry in self.get_log("browser")]
        assert refused
        assert all("Content Security Policy" in message for message in refused)

    def downloaded(self, name: str) -> Path:
        """The file once it is whole; a test fails after a minute without one."""
        for _ in range(1200):
            if (self.downloads / name).is_file():
                return self.downloads / name
            time.sleep(0.05)
        pytest.fail(f"no download {name}, but {list(self.downloads.glob('*'))}")


def open_chromium(folder: Path) -> Browser:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        stop = pytest.fail if os.environ.get("COUNTCLIP_REAL") == "required" else pytest.skip
        stop("no chromium and chromedriver: install both (Debian: chromium, chromium-driver)")
    return Browser(program, driver, folder)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    """One for all tests."""
    browser = open_chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """The browser as new, in a wide window; afterwards no error and no refusal may be logged."""
    shutil.rmtree(chromium.downloads, ignore_errors=True)
    chromium.size(1280, 900)
    chromium.get_log("browser")
    yield chromium
    log = chromium.get_log("browser")
    chromium.run("try { localStorage.clear() } catch {}")
    chromium.get("about:blank")
    assert log == []
