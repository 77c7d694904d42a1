"""The page of runs: its numbers are the runs', its surprises the junior's, no text is more than text, and it works."""

import itertools
import json
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from browser import browser, faults, narrow  # noqa: F401

import train
from evaluate import Sampling, answer
from support.people import page
from support.reports.results import RUN_MEASURES, look_up
from support.runs.pair import load_run
from support.runs.problem_files import load_problems

ROOT = Path(__file__).parent.parent
SIZES = [
    "--steps=2",
    "--prompts-per-step=2",
    "--group-size=2",
    "--eval-problems=2",
    "--eval-samples=1",
]
HOSTILE = (
    "x" * 300
    + "</script><script>hacked=1</script><img src=x onerror=hacked=1><!--<script>'\"&lt;\\\n\0\x1b\u2028\u202eשלום 😀 \ud800"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run and a copy of it."""
    folder = tmp_path_factory.mktemp("page")
    train.main([*SIZES, "--eval-every=1", f"--out={folder / 'word'}"])
    shutil.copytree(folder / "word", folder / "other")
    return [folder / "word", folder / "other"]


@pytest.fixture(scope="module")
def html(runs):
    """The page of both, of three problems."""
    page.main([*map(str, runs), "--problems=3", "--device=cpu"])
    return runs[0].with_name("page.html")


class Blocks(HTMLParser):
    """The tags of a page, and the data of its script blocks, as a browser cuts them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.tags[-1:] == ["script"]:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")


def data_of(text: str) -> dict:
    return json.loads(Blocks(text).scripts[0])


def test_the_table_and_the_curves_are_the_runs_own_numbers(runs, html):
    data, read = (
        data_of(html.read_text()),
        lambda name: [*map(json.loads, (runs[0] / name).read_text().splitlines())],
    )
    measured, steps, along = (
        json.loads((runs[0] / "eval.json").read_text()),
        read("metrics.jsonl"),
        read("evals.jsonl"),
    )
    assert data["table"]["head"] == ["before", "word", "other"]  # they began with one pair
    assert data["table"]["caption"] == "2 test problems × 1 responses"
    stages = ("before", "after", "after")
    wanted = [
        [label, *(f"{look_up(measured[stage], path):.3f}" for stage in stages)]
        for label, path, _ in RUN_MEASURES
    ]
    assert data["table"]["rows"] == wanted
    lines = {chart["title"]: chart["lines"] for chart in data["curves"]}
    assert (
        lines["reward of the rollouts ↑"]
        == [[[i, round(row["reward"], 4)] for i, row in enumerate(steps)]] * 2
    )
    kl = [[row["step"], row["drift"]["kl"]] for row in along]
    assert lines["drift: KL to the junior, nats ↓"] == [kl, kl] and len(kl) == 3 and len(lines) == 6


@torch.no_grad()
def test_responses_are_those_of_evaluation_and_surprise_is_the_juniors_in_float64(runs, html):
    run, data, joined = load_run(runs[0]), data_of(html.read_text()), 0
    _, problems, _ = load_problems(run.config, run.tokenizer, 128, 3)
    assert [(one["question"], one["answer"]) for one in data["problems"]] == [
        (p.question, p.answer) for p in problems
    ]
    stages = {
        "before": run.before,
        "word, after 2 steps": run.senior,
        "other, after 2 steps": run.senior,
    }
    shown = [
        [(one["who"], one["when"]) for one in problem["responses"]] for problem in data["problems"]
    ]
    assert shown == [[(who, when) for when in stages for who in page.SCHEDULES.values()]] * 3
    sampling, bar, junior = (
        Sampling(samples=1, batch_size=2),
        SimpleNamespace(update=lambda n: None),
        run.junior,
    )
    for i, (senior, schedule) in enumerate(itertools.product(stages.values(), page.SCHEDULES)):
        answers = answer(senior, junior.float(), run.tokenizer, problems, schedule, sampling, bar)
        junior = junior.double()
        for row, problem in enumerate(data["problems"]):
            one, mask, prompt = (
                problem["responses"][i],
                answers.rollout.mask[row],
                answers.rollout.prompts[row],
            )
            ids, by_senior = (
                x[row][mask].tolist() for x in (answers.rollout.tokens, answers.rollout.authorship)
            )
            logits = junior(torch.tensor([prompt + ids]))[0, len(prompt) - 1 : -1]  # (T, V)
            expected = -logits.log_softmax(dim=-1)[range(len(ids)), ids]  # (T,)
            assert logits.dtype == torch.float64 and one["surprise"] == pytest.approx(
                expected.mean().item(), abs=2e-3
            )
            texts, authors, surprises = zip(*[token[:3] for token in one["tokens"]], strict=True)
            assert (
                "".join(texts).removesuffix("<|end|>") == answers.texts[row]
                and one["right"] == answers.right[row]
            )
            assert sum(surprises) == pytest.approx(expected.sum().item(), abs=2e-3 * len(ids))
            if len(texts) < len(ids):
                joined += 1  # it has bytes that are no whole character
                continue
            assert (
                surprises == pytest.approx(expected.tolist(), abs=2e-3)
                and list(authors) == by_senior
            )
            changes = [t for t in range(1, len(texts)) if authors[t] != authors[t - 1]]
            steps = [t for t in range(1, len(texts)) if "\n\n" in texts[t - 1]]
            assert changes == ([] if schedule == "solo" else steps)
    assert joined < 9  # of 18


def test_bytes_of_a_character_are_joined_and_special_tokens_named():
    tokens = [b"a", "😀".encode()[:2], "😀".encode()[2:], b"", b"\n\n", "é".encode()[:1]]
    tokenizer = SimpleNamespace(tokens=tokens, special={"<|end|>": 3})
    found = page.pieces(
        [0, 1, 2, 4, 3, 5],
        [True, False, True, False, True, False],
        [1, 2, 3, 4, 5, 6.00049],
        tokenizer,
    )
    end = ["<|end|>", True, 5, True]
    assert found == [["a", True, 1], ["😀", True, 5], ["\n\n", False, 4], end, ["\ufffd", False, 6]]


def hostile(data: dict) -> str:
    """The page with hostile text wherever a model's, a user's or a folder's text may stand."""
    data = json.loads(json.dumps(data))
    for problem in data["problems"]:
        problem |= {"question": HOSTILE, "answer": HOSTILE}
        for one in problem["responses"]:
            one |= {"when": HOSTILE, "tokens": [[HOSTILE, True, 1.5], *one["tokens"]]}
    data["runs"][0] = {"name": HOSTILE, "about": HOSTILE}
    data["table"]["head"][0] = HOSTILE
    return page.embed(page.TEMPLATE, data)


def test_hostile_text_stays_in_its_block(html):
    good, bad = Blocks(html.read_text()), Blocks(hostile(data_of(html.read_text())))
    assert bad.tags == good.tags and len(bad.scripts) == 2 and good.scripts[1] == bad.scripts[1]
    assert json.loads(bad.scripts[0])["problems"][0]["question"] == HOSTILE


def test_a_world_without_jargon_and_a_run_without_evals_have_no_such_curves(runs, tmp_path, capsys):
    shutil.copytree(runs[0], tmp_path / "word")
    (tmp_path / "word" / "evals.jsonl").unlink()
    for name in ("eval.json", "metrics.jsonl"):
        rows = (
            (tmp_path / "word" / name).read_text().splitlines()
            if name[0] == "m"
            else [(runs[0] / name).read_text()]
        )
        rows = [json.dumps(without_jargon(json.loads(row))) for row in rows]
        (tmp_path / "word" / name).write_text("\n".join(rows))
    page.main([str(tmp_path / "word"), "--problems=1", f"--out={tmp_path / 'a.html'}"])
    data = data_of((tmp_path / "a.html").read_text())
    assert [chart["title"] for chart in data["curves"]] == ["reward of the rollouts ↑"]
    assert ["jargon rate", "-", "-"] in data["table"]["rows"] and len(data["problems"]) == 1
    assert f"page: {tmp_path / 'a.html'}" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.html",
        "word",
    ]  # nothing else is left


def without_jargon(row: dict) -> dict:
    parts = {name: without_jargon(value) for name, value in row.items() if isinstance(value, dict)}
    return {name: None if name == "jargon_rate" else value for name, value in (row | parts).items()}


@pytest.mark.parametrize(
    "words, said",
    [
        (["{run}-none"], "word-none a finished run?"),
        (["{run}", "--problems=0"], "--problems must be at least 1"),
        (["{run}", "--out={run}/eval.json"], "give an --out that ends in .html"),
        (["{run}", "--out={run}"], "give an --out that ends in .html"),
        (["{run}", "--out={run}/none/a.html"], "give another --out"),
        (["{run}", "--out={run}/eval.json/a.html"], "give another --out"),
        ([], "required: runs"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(runs, words, said, capsys, monkeypatch):
    monkeypatch.setattr(page, "page_data", lambda *_: pytest.fail("work was begun"))
    before = (runs[0] / "eval.json").read_bytes()
    with pytest.raises(SystemExit) as end:
        page.main([word.format(run=runs[0]) for word in words])
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and said in error
    assert (runs[0] / "eval.json").read_bytes() == before


@pytest.mark.parametrize("words", [[], ["pages"], ["--help"]])
def test_a_missing_or_unknown_word_gets_one_line(words):
    command = [sys.executable, "-m", "support.people", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (
        done.returncode == 2
        and done.stderr.count("\n") == 1
        and "page" in done.stderr
        and not done.stdout
    )


@pytest.fixture
def opened(browser):  # noqa: F811
    """Opens a page from disk, in a window of 1200 pixels."""

    def open_page(path: Path):
        size = {"width": 1200, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        faults(browser)  # of pages before
        browser.get(path.as_uri())
        return browser

    return open_page


def press(driver, *keys) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def test_the_page_shows_everything_and_asks_for_nothing(opened, html):
    driver = opened(html)
    kinds = ["article", ".response", "svg", "path.run", "tbody tr"]
    counts = "return arguments[0].map((kind) => document.querySelectorAll(kind).length)"
    assert driver.execute_script(counts, kinds) == [3, 3 * 6, 6, 6 * 2, 8]
    data = data_of(html.read_text())
    texts = driver.execute_script(
        "return [...document.querySelectorAll('.text')].map(x => x.textContent)"
    )
    assert sorted(texts) == sorted(
        "".join(t[0] for t in r["tokens"]) for p in data["problems"] for r in p["responses"]
    )
    cells = "[...row.cells].map((cell) => cell.textContent)"
    cells = driver.execute_script(
        f"return [...document.querySelectorAll('tbody tr')].map((row) => {cells})"
    )
    assert cells == data["table"]["rows"]
    assert driver.execute_script("return performance.getEntriesByType('resource')") == []
    assert faults(driver) == []


def test_a_request_would_be_refused(opened, html):
    """So an empty log does mean that there was none."""
    driver = opened(html)
    driver.execute_script(
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/'}))"
    )
    assert "Content Security Policy" in faults(driver)[0]


def test_search_and_surprise_work_by_keyboard_alone(opened, html):
    from selenium.webdriver.common.keys import Keys

    driver = opened(html)
    focus = partial(
        driver.execute_script,
        "return document.activeElement.id || document.activeElement.className",
    )
    count = partial(driver.execute_script, "return document.getElementById('count').textContent")
    shown = "return [...document.querySelectorAll('article:not([hidden]) h3')].map((node) => node.textContent)"
    seen = partial(driver.execute_script, shown)
    press(driver, Keys.TAB, Keys.TAB)  # the table comes before
    assert focus() == "search" and len(seen()) == 3 and count() == "3 of 3 problems"
    question = data_of(html.read_text())["problems"][1]["question"]
    press(driver, question[:30].upper().replace(" ", "  "))
    assert seen() == [question] and count() == "1 of 3 problems, found in 0 responses"
    press(driver, Keys.TAB, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    tip = driver.find_element("id", "tip")
    token = data_of(html.read_text())["problems"][1]["responses"][0]["tokens"][1]
    assert "token" in focus() and tip.is_displayed() and f"surprise {token[2]:.2f} nats" in tip.text
    press(driver, Keys.ESCAPE)
    assert not tip.is_displayed()
    driver.execute_script("document.getElementById('search').focus()")
    press(driver, *[Keys.BACKSPACE] * 60, "boxed{")
    assert (
        len(seen()) == 3
        and driver.execute_script("return document.querySelectorAll('.hit').length") > 0
    )
    press(driver, "no such text")
    assert seen() == [] and count() == "0 of 3 problems, found in 0 responses"
    press(driver, Keys.ESCAPE)
    assert len(seen()) == 3


def test_nothing_is_wider_than_a_narrow_window(opened, html, tmp_path):
    (tmp_path / "bad.html").write_text(hostile(data_of(html.read_text())), encoding="utf-8")
    for path in (html, tmp_path / "bad.html"):
        driver = opened(path)
        narrow(driver, 360)
        widths = (
            "const page = document.documentElement; return [page.clientWidth, page.scrollWidth]"
        )
        assert driver.execute_script(widths) == [360, 360]
        beyond = "(node) => node.getBoundingClientRect().right > 360 && !node.closest('.scroll')"  # and cut off there
        assert (
            driver.execute_script(
                f"return [...document.body.querySelectorAll('*')].filter({beyond})"
            )
            == []
        )


def test_hostile_text_is_shown_as_text_and_runs_nothing(opened, html, tmp_path):
    (tmp_path / "bad.html").write_text(hostile(data_of(html.read_text())), encoding="utf-8")
    driver = opened(tmp_path / "bad.html")
    units = memoryview(HOSTILE.encode("utf-16-le", "surrogatepass")).cast("H").tolist()
    places = [
        "h3",
        "article p",
        ".token[tabindex]",
        "h5 span",
        "#names",
        "#runs b",
        "thead th",
        "path title",
    ]
    script = """const text = String.fromCharCode(...arguments[0]);
        return arguments[1].filter((place) => !document.querySelector(place).textContent.includes(text))"""
    assert driver.execute_script(script, units, places) == []
    counts = "return [typeof hacked, document.images.length, document.scripts.length]"
    assert driver.execute_script(counts) == ["undefined", 0, 2]
    assert faults(driver) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(opened, html, scheme):
    """WCAG AA: 4.5 to 1, also of both authors on the deepest tint, and 3 to 1 of the charts' lines."""
    driver = opened(html)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    dark, checked, faults = driver.execute_script(CONTRAST)
    assert dark == (scheme == "dark") and checked > 500 and faults == []


CONTRAST = r"""
const numbers = (color) => color.match(/[\d.]+/g).map(Number);
function behind(node) {
  const [r, g, b, alpha = 1] = numbers(getComputedStyle(node).backgroundColor);
  const under = alpha < 1 ? behind(node.parentElement) : [0, 0, 0];
  return [r, g, b].map((part, i) => part * alpha + under[i] * (1 - alpha));
}
function luminance(rgb) {
  const [r, g, b] = rgb.map((x) => x / 255).map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(color, ground) {
  const [low, high] = [luminance(numbers(color).slice(0, 3)), luminance(ground)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
for (const author of ["senior", "junior"])
  document.querySelector(`.token.${author}`).style.setProperty("--much", 1);
const ownText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
const nodes = [...document.body.querySelectorAll("*:not(script, noscript, title)")].filter(ownText);
const faults = [];
for (const node of [...nodes, ...document.querySelectorAll("path.run")]) {
  const style = getComputedStyle(node), line = node.tagName === "path";
  const color = line ? style.stroke : node.tagName === "text" ? style.fill : style.color;
  if (contrast(color, behind(node)) < (line ? 3 : 4.5)) faults.push(node.outerHTML);
}
return [luminance(behind(document.body)) < 0.5, nodes.length, faults];
"""
