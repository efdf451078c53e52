"""The page in a real browser: no script error, lists that can be searched and clicked through, light and dark."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worlds.pages_of_nights import HOSTILE, ReportOfNight, report_of, with_a_night_before, with_hostile_titles

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)
# A container has neither a sandbox nor a GPU; SwiftShader draws the map.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def page(small_night: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportOfNight:
    lake = with_a_night_before(small_night, tmp_path_factory.mktemp("browser") / "lake")
    with_hostile_titles(lake)
    return report_of(lake, small_night / "source")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for option in (*OPTIONS, "--window-size=1400,1000"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    # A click waits until the page stands still, so nothing may scroll smoothly.
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}, {"name": "prefers-color-scheme", "value": "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": still})
    yield driver
    driver.quit()


def wait(found: Callable[[], Any], seconds: float = 60) -> Any:
    """What `found` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "the page does not get there"
        time.sleep(0.02)
    return value


def texts(browser: Any, selector: str) -> list[str]:
    return [str(text) for text in browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((it) => it.textContent)", selector
    )]  # fmt: skip


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def choose(browser: Any, root: str, text: str) -> None:
    """Types into a search box, and takes the first suggestion by the keyboard."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    box = browser.find_element(By.CSS_SELECTOR, f"{root} .picker input")
    box.click()
    box.clear()
    box.send_keys(text)
    wait(lambda: texts(browser, f"{root} .options li"))
    box.send_keys(Keys.ARROW_DOWN, Keys.ENTER)


def test_the_page_works_without_a_script_error(page: ReportOfNight, browser: Any, tmp_path: Path) -> None:
    main, titles = page.json("main"), page.json("titles")
    browser.get(page.path.as_uri())
    wait(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    assert browser.title.startswith("kgspark, night of ")

    users = main["lists"]
    choose(browser, "#lists", users[5]["id"])
    assert texts(browser, "#liked-cap") == [f"user {users[5]['id']} liked"]
    assert texts(browser, "#got .title") == [titles[row[0]] for row in users[5]["got"]]
    assert texts(browser, "#liked .title") == [titles[row[0]] for row in users[5]["liked"]]
    assert len(texts(browser, "#got li .new")) == len({row[0] for row in users[5]["got"]} - set(users[5]["before"]))
    assert texts(browser, "#around-cap") == [f"user {users[5]['id']}"]
    click(browser, "#lists [data-step='1']")
    assert texts(browser, "#got .title") == [titles[row[0]] for row in users[6]["got"]]
    click(browser, "#lists [data-night='before']")
    assert texts(browser, "#got .title") == [titles[movie] for movie in users[6]["before"]]
    click(browser, "#lists [data-night='tonight']")

    choose(browser, "#similar", HOSTILE[1])
    assert texts(browser, "#similar-cap") == [HOSTILE[1]]
    place = main["similar"]["of"].index(titles.index(HOSTILE[1]))
    assert texts(browser, "#similar-rows .title") == [titles[movie] for movie in main["similar"]["rows"][place]]
    click(browser, "#got button.title")
    assert texts(browser, "#similar-cap") == [titles[users[6]["got"][0][0]]]

    charts = browser.execute_script("return document.querySelectorAll('[data-chart]').length")
    for element in range(charts):
        script = "document.querySelectorAll('[data-chart]')[arguments[0]].scrollIntoView({ behavior: 'instant' })"
        browser.execute_script(script, element)
        name = browser.execute_script(
            "return document.querySelectorAll('[data-chart]')[arguments[0]].dataset.chart", element
        )
        if name in main["charts"]:
            drawn = f"[data-chart={name}][data-drawn] .main-svg"
            wait(lambda drawn=drawn: texts(browser, drawn))
    browser.execute_script("document.getElementById('map').scrollIntoView({ behavior: 'instant' })")
    wait(lambda: texts(browser, "#map[data-drawn] .main-svg"))

    themes = []
    for width in (1400, 420):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for _ in range(2):
            click(browser, "button.theme")
            theme = browser.execute_script("return document.documentElement.dataset.theme")
            themes.append(theme)
            browser.execute_script("scrollTo({ top: 0, behavior: 'instant' })")
            assert browser.save_screenshot(str(tmp_path / f"{theme}-{width}.png"))
        script = "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth"
        assert browser.execute_script(script) == 0, f"the page is wider than {width} pixels"
    assert themes == ["dark", "light", "dark", "light"]
    assert all(path.stat().st_size > 10_000 for path in tmp_path.glob("*.png"))
    assert browser.title.startswith("kgspark, night of "), "a title was run as a script"
    assert [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
