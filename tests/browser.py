"""A headless Chromium for the tests of pages, where there is one."""

import json
import shutil

import pytest

MISSING = "no browser: apt-get install chromium chromium-driver && pip install selenium"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason=MISSING)
    driver = shutil.which("chromedriver")
    if driver is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip(MISSING)
    options = webdriver.ChromeOptions()
    for word in "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=900,900".split():
        options.add_argument(word)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path_factory.mktemp("downloads"))}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def narrow(browser, width: int = 360) -> None:
    """The window of a phone. Chromium's own window doesn't get that narrow."""
    size = {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def overflow(browser) -> int:
    """Pixels by which the page is wider than its window. (innerWidth would grow with it on a phone.)"""
    return browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
    )


def faults(browser) -> list[str]:
    """What left the page since the last look, and what its console said."""
    said = [entry["message"] for entry in browser.get_log("browser")]
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"
    ]
    return said + [url for url in urls if not url.startswith(("file:", "blob:", "data:"))]
