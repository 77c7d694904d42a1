"""A headless Chromium for the tests of pages, where there is one."""

import json
import shutil

import pytest

try:
    from selenium.webdriver.common.keys import Keys
except ImportError:  # then the tests that press keys are skipped
    Keys = None

MISSING = "no browser: apt-get install chromium chromium-driver && pip install selenium"
WORDS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=900,900",
)
LOCAL = ("file:", "blob:", "data:")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason=MISSING)
    driver = shutil.which("chromedriver")
    if driver is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip(MISSING)
    options = webdriver.ChromeOptions()
    for word in WORDS:
        options.add_argument(word)
    downloads = str(tmp_path_factory.mktemp("downloads"))
    options.add_experimental_option("prefs", {"download.default_directory": downloads})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def narrow(browser, width: int = 360) -> None:
    """The window of a phone. Chromium's own window doesn't get that narrow."""
    size = {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def overflow(browser) -> int:
    """Pixels by which the page is wider than its window, whose innerWidth would grow with it."""
    page = "const page = document.documentElement;"
    return browser.execute_script(f"{page} return page.scrollWidth - page.clientWidth")


def faults(browser) -> list[str]:
    """Requests that left the page since the last call, and messages of its console."""
    messages = [entry["message"] for entry in browser.get_log("browser")]
    for entry in browser.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if not url.startswith(LOCAL):
                messages.append(url)
    return messages
