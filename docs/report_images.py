"""Images of a night's report for the site: `python docs/report_images.py REPORT FOLDER`, with chromium and selenium."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

# The sections of the page that are shown, with the words for them; the first is shown in both themes.
SECTIONS = {"overview": "The overview", "lists": "Lists", "similar": "Similar movies and the map", "quality": "Quality"}
_WIDTH, _HEIGHT = 1400, 900


def main(report: Path, folder: Path) -> None:
    """Writes one image per section and theme."""
    folder.mkdir(parents=True, exist_ok=True)
    with _browser() as browser:
        browser.get(report.absolute().as_uri())
        WebDriverWait(browser, 60).until(_script("return document.documentElement.dataset.ready"))
        for theme in ("light", "dark"):
            while _script("return document.documentElement.dataset.theme")(browser) != theme:
                _script("document.querySelector('button.theme').click()")(browser)
            for section in SECTIONS:
                if theme == "light" or section != "quality":
                    _show(browser, section)
                    browser.save_screenshot(str(folder / f"{section}-{theme}.png"))


def _show(browser: WebDriver, section: str) -> None:
    target = "scrollTo(0, 0)" if section == "overview" else f"document.getElementById('{section}').scrollIntoView()"
    browser.execute_script(target)
    # Charts are drawn when they come into view.
    pending = """return [...document.querySelectorAll('[data-chart], #map')].filter((it) => {
        const { top, bottom } = it.getBoundingClientRect()
        return top < innerHeight && bottom > 0 && !('drawn' in it.dataset)
    }).length"""
    WebDriverWait(browser, 60).until(lambda it: it.execute_script(pending) == 0)


def _script(text: str):
    return lambda browser: browser.execute_script(text)


@contextmanager
def _browser() -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    for option in (
        "--headless=new",
        "--no-sandbox",
        "--enable-unsafe-swiftshader",
        f"--window-size={_WIDTH},{_HEIGHT}",
    ):
        options.add_argument(option)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    )
    try:
        yield driver
    finally:
        driver.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
