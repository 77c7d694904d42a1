"""The page of runs: its numbers are the runs', its surprises the junior's, and it works.

No text in it is more than text.
"""

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
from browser import Keys, browser, faults, narrow  # noqa: F401

import train
from evaluate import Sampling, answer
from reward import verify
from support.people import page
from support.reports.measures import RUN_MEASURES, look_up
from support.runs.problem_files import load_problems
from support.runs.saved import load_run

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
    + "</script><script>hacked=1</script><img src=x onerror=hacked=1>"
    + "<!--<script>'\"&lt;\\\n\0\x1b\u2028\u202eשלום 😀 \ud800"
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
        self.tags = []
        self.scripts = []
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


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_table_is_of_the_runs_own_numbers(runs, html):
    table = data_of(html.read_text())["table"]
    measured = json.loads((runs[0] / "eval.json").read_text())
    assert table["head"] == ["before", "word", "other"]  # they began with one pair
    assert table["caption"] == "2 test problems × 1 responses"
    expected = []
    for label, path, _ in RUN_MEASURES:
        before = f"{look_up(measured['before'], path):.3f}"
        after = f"{look_up(measured['after'], path):.3f}"
        expected.append([label, before, after, after])
    assert table["rows"] == expected


def test_the_curves_are_of_the_runs_own_numbers(runs, html):
    curves = data_of(html.read_text())["curves"]
    lines = {chart["title"]: chart["lines"] for chart in curves}
    assert len(lines) == 9
    steps = read_lines(runs[0] / "metrics.jsonl")
    reward = [[step, round(row["reward"], 4)] for step, row in enumerate(steps)]
    assert lines["reward of the rollouts ↑"] == [reward, reward]
    opened = [[step, row["senior_opens_in_jargon"]] for step, row in enumerate(steps)]
    assert lines["responses that the senior opens in jargon"] == [opened, opened]
    for author in ("junior", "senior"):
        values = [row[f"accuracy_{author}_first"] for row in steps]
        accuracy = [[step, value] for step, value in enumerate(values) if value is not None]
        assert lines[f"reward where the {author} begins ↑"] == [accuracy, accuracy]
    along = read_lines(runs[0] / "evals.jsonl")
    kl = [[row["step"], row["drift"]["kl"]] for row in along]
    assert lines["drift: KL to the junior, nats ↓"] == [kl, kl] and len(kl) == 3


def test_each_problem_has_a_response_of_every_stage_and_schedule(runs, html):
    run, data = load_run(runs[0]), data_of(html.read_text())
    _, problems, _ = load_problems(run.config, run.tokenizer, 128, 3)
    shown = [(one["question"], one["answer"]) for one in data["problems"]]
    assert shown == [(p.question, p.answer) for p in problems]
    expected = []
    for when in ("before", "word, after 2 steps", "other, after 2 steps"):
        expected += [(who, when) for who in page.SHOWN_SCHEDULES.values()]
    for problem in data["problems"]:
        assert [(one["who"], one["when"]) for one in problem["responses"]] == expected


@torch.no_grad()
def test_responses_are_those_of_evaluation_and_surprise_is_the_juniors_in_float64(runs, html):
    run, data = load_run(runs[0]), data_of(html.read_text())
    _, problems, _ = load_problems(run.config, run.tokenizer, 128, 3)
    sampling = Sampling(samples=1, batch_size=2)
    bar = SimpleNamespace(update=lambda n: None)
    junior = load_run(runs[0]).junior.float()
    exact = run.junior.double()
    joined = 0
    column = 0
    for senior in (run.before, run.senior, run.senior):
        for schedule in page.SHOWN_SCHEDULES:
            answers = answer(senior, junior, run.tokenizer, problems, schedule, sampling, bar)
            for row, problem in enumerate(data["problems"]):
                whole = check_response(problem["responses"][column], answers, row, schedule, exact)
                joined += not whole
            column += 1
    assert joined < 9  # of 18


def check_response(shown: dict, answers, row: int, schedule: str, junior) -> bool:
    """Is each token a text of its own? If one has bytes of a character alone, less is checked."""
    mask, prompt = answers.rollout.mask[row], answers.rollout.prompts[row]
    ids = answers.rollout.tokens[row][mask].tolist()
    by_senior = answers.rollout.authorship[row][mask].tolist()
    logits = junior(torch.tensor([prompt + ids]))[0, len(prompt) - 1 : -1]  # (T, V)
    assert logits.dtype == torch.float64
    expected = -logits.log_softmax(dim=-1)[range(len(ids)), ids]  # (T,)

    texts = [token[0] for token in shown["tokens"]]
    authors = [token[1] for token in shown["tokens"]]
    surprises = [token[2] for token in shown["tokens"]]
    assert "".join(texts).removesuffix("<|end|>") == answers.texts[row]
    assert shown["right"] == answers.right[row]
    assert shown["surprise"] == pytest.approx(expected.mean().item(), abs=2e-3)
    assert sum(surprises) == pytest.approx(expected.sum().item(), abs=2e-3 * len(ids))
    if len(texts) < len(ids):
        return False

    assert surprises == pytest.approx(expected.tolist(), abs=2e-3)
    assert authors == by_senior
    changes = [t for t in range(1, len(texts)) if authors[t] != authors[t - 1]]
    steps = [t for t in range(1, len(texts)) if "\n\n" in texts[t - 1]]
    assert changes == ([] if schedule == "solo" else steps)
    return True


def test_the_first_problems_have_groups_as_training_writes_them(runs, html):
    """Advantages are the rewards minus their mean. A coin falls after a token with a space."""
    run, data = load_run(runs[0]), data_of(html.read_text())
    _, problems, _ = load_problems(run.config, run.tokenizer, 128, 3)
    for problem, shown in zip(problems, data["problems"], strict=True):
        assert [group["when"] for group in shown["groups"]] == [
            "before",
            "word, after 2 steps",
            "other, after 2 steps",
        ]
        assert [group["run"] for group in shown["groups"]] == [None, "word", "other"]
        for group in shown["groups"]:
            assert group["schedule"] == "word" and len(group["responses"]) == 4
            rights = [one["right"] for one in group["responses"]]
            for one in group["responses"]:
                texts = [token[0] for token in one["tokens"]]
                text = "".join(texts).removesuffix("<|end|>")
                assert one["right"] == verify(text, problem.answer)
                advantage = one["right"] - sum(rights) / 4
                assert one["advantage"] == pytest.approx(advantage, abs=6e-4)
                marks = ["coin" in token[3] for token in one["tokens"]]
                if "\ufffd" not in text:  # every token is a text of its own, or nearly
                    after = [text.startswith(" ") for text in texts[:-1]]
                    assert marks == [True, *after]
                authors = [token[1] for token in one["tokens"]]
                for t in range(1, len(texts)):
                    assert marks[t] or authors[t] == authors[t - 1] or "\ufffd" in text
    groups = [one for shown in data["problems"] for one in shown["groups"]]
    assert any(one["advantage"] for group in groups for one in group["responses"])


def test_bytes_of_a_character_are_joined_and_special_tokens_named():
    smile = "😀".encode()
    tokens = [b"a", smile[:2], smile[2:], b"", b"\n\n", "é".encode()[:1]]
    tokenizer = SimpleNamespace(tokens=tokens, special={"<|end|>": 3})
    ids = [0, 1, 2, 4, 3, 5]
    by_senior = [True, False, True, False, True, False]
    surprise = [1, 2, 3, 4, 5, 6.00049]
    fell = [False, True, False, False, True, True]
    assert page.tokens_with_surprise(ids, by_senior, surprise, fell, tokenizer) == [
        ["a", True, 1, ""],
        ["😀", True, 5, "coin"],
        ["\n\n", False, 4, ""],
        ["<|end|>", True, 5, "coin special"],
        ["\ufffd", False, 6, "coin"],
    ]


def hostile(data: dict) -> str:
    """The page with hostile text wherever a model's, a user's or a folder's text may stand."""
    data = json.loads(json.dumps(data))
    for problem in data["problems"]:
        problem |= {"question": HOSTILE, "answer": HOSTILE}
        shown = list(problem["responses"])
        for group in problem["groups"]:
            group |= {"when": HOSTILE, "schedule": HOSTILE}
            shown += group["responses"]
        for one in shown:
            one |= {"when": HOSTILE, "tokens": [[HOSTILE, True, 1.5, ""], *one["tokens"]]}
    data["runs"][0] = {"name": HOSTILE, "about": HOSTILE}
    data["table"]["head"][0] = HOSTILE
    return page.embed(page.PAGE_TEMPLATE, data)


def test_hostile_text_stays_in_its_block(html):
    good = Blocks(html.read_text())
    bad = Blocks(hostile(data_of(html.read_text())))
    assert bad.tags == good.tags
    assert len(bad.scripts) == 2 and good.scripts[1] == bad.scripts[1]
    assert json.loads(bad.scripts[0])["problems"][0]["question"] == HOSTILE


def test_a_world_without_jargon_and_a_run_without_evals_have_no_such_curves(runs, tmp_path, capsys):
    folder = tmp_path / "word"
    out = tmp_path / "a.html"
    shutil.copytree(runs[0], folder)
    (folder / "evals.jsonl").unlink()
    measured = json.loads((folder / "eval.json").read_text())
    (folder / "eval.json").write_text(json.dumps(without_jargon(measured)))
    steps = read_lines(folder / "metrics.jsonl")
    lines = [json.dumps(without_jargon(step)) for step in steps]
    (folder / "metrics.jsonl").write_text("\n".join(lines))

    page.main([str(folder), "--problems=1", f"--out={out}"])
    data = data_of(out.read_text())
    titles = [chart["title"] for chart in data["curves"]]
    assert titles[0] == "reward of the rollouts ↑"
    assert all("where the" in title for title in titles[1:])  # one author, or each, begins
    assert ["jargon rate", "-", "-"] in data["table"]["rows"]
    assert len(data["problems"]) == 1
    assert f"page: {out}" in capsys.readouterr().err
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["a.html", "word"]


def without_jargon(row: dict) -> dict:
    changed = {}
    for name, value in row.items():
        if isinstance(value, dict):
            value = without_jargon(value)
        changed[name] = None if "jargon" in name else value
    return changed


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
    assert end.value.code == 2
    assert error.count("\n") == 1 and said in error
    assert (runs[0] / "eval.json").read_bytes() == before


@pytest.mark.parametrize("words", [[], ["pages"], ["--help"]])
def test_a_missing_or_unknown_word_gets_one_line(words):
    command = [sys.executable, "-m", "support.people", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.count("\n") == 1 and "page" in done.stderr


# ---- In a browser --------------------------------------------------------------------------------


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
    responses = 3 * 6 + 3 * 3 * 4  # of evaluation, and in groups
    assert driver.execute_script(counts, kinds) == [3, responses, 9, 9 * 2, 8]

    data = data_of(html.read_text())
    expected = []
    for problem in data["problems"]:
        shown = list(problem["responses"])
        for group in problem["groups"]:
            shown += group["responses"]
        for one in shown:
            expected.append("".join(token[0] for token in one["tokens"]))
    texts = "return [...document.querySelectorAll('.text')].map((node) => node.textContent)"
    assert sorted(driver.execute_script(texts)) == sorted(expected)

    rows = """return [...document.querySelectorAll('tbody tr')]
        .map((row) => [...row.cells].map((cell) => cell.textContent))"""
    assert driver.execute_script(rows) == data["table"]["rows"]
    assert driver.execute_script("return performance.getEntriesByType('resource')") == []
    assert faults(driver) == []


def test_a_request_would_be_refused(opened, html):
    """So an empty log does mean that there was none."""
    driver = opened(html)
    image = "Object.assign(new Image(), {src: 'http://127.0.0.1:9/'})"
    driver.execute_script(f"document.body.append({image})")
    assert "Content Security Policy" in faults(driver)[0]


FOCUS = "return document.activeElement.id || document.activeElement.className"
COUNT = "return document.getElementById('count').textContent"
QUESTIONS = """return [...document.querySelectorAll('article:not([hidden]) h3')]
    .map((node) => node.textContent)"""
HITS = "return document.querySelectorAll('.hit').length"


def test_search_and_surprise_work_by_keyboard_alone(opened, html):
    driver = opened(html)
    focus = partial(driver.execute_script, FOCUS)
    count = partial(driver.execute_script, COUNT)
    questions = partial(driver.execute_script, QUESTIONS)
    second = data_of(html.read_text())["problems"][1]

    press(driver, Keys.TAB, Keys.TAB)  # the table comes before
    assert focus() == "search"
    assert len(questions()) == 3 and count() == "3 of 3 problems"
    question = second["question"]
    press(driver, question[:30].upper().replace(" ", "  "))
    assert questions() == [question]
    assert count() == "1 of 3 problems, found in 0 responses"

    press(driver, Keys.TAB, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    tip = driver.find_element("id", "tip")
    _, _, surprise, *_ = second["responses"][0]["tokens"][1]
    assert "token" in focus() and tip.is_displayed()
    assert f"surprise {surprise:.2f} nats" in tip.text
    press(driver, Keys.ESCAPE)
    assert not tip.is_displayed()

    driver.execute_script("document.getElementById('search').focus()")
    press(driver, *[Keys.BACKSPACE] * 60, "boxed{")
    assert len(questions()) == 3 and driver.execute_script(HITS) > 0
    press(driver, "no such text")
    assert questions() == [] and count() == "0 of 3 problems, found in 0 responses"
    press(driver, Keys.ESCAPE)
    assert len(questions()) == 3


BEYOND = """return [...document.body.querySelectorAll('*')].filter((node) =>
    node.getBoundingClientRect().right > 360
    && !node.closest('.scroll'))  // which cuts off wide tables"""


def test_nothing_is_wider_than_a_narrow_window(opened, html, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(hostile(data_of(html.read_text())), encoding="utf-8")
    for path in (html, bad):
        driver = opened(path)
        narrow(driver, 360)
        page_element = "const page = document.documentElement;"
        widths = f"{page_element} return [page.clientWidth, page.scrollWidth]"
        assert driver.execute_script(widths) == [360, 360]
        assert driver.execute_script(BEYOND) == []


WITHOUT_TEXT = """const text = String.fromCharCode(...arguments[0]);
return arguments[1].filter((place) => !document.querySelector(place).textContent.includes(text))"""


def test_hostile_text_is_shown_as_text_and_runs_nothing(opened, html, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(hostile(data_of(html.read_text())), encoding="utf-8")
    driver = opened(bad)
    units = memoryview(HOSTILE.encode("utf-16-le", "surrogatepass")).cast("H").tolist()
    places = ["h3", "article p", ".token[tabindex]", "h5 span"]
    places += ["#names", "#runs b", "thead th", "path title"]
    assert driver.execute_script(WITHOUT_TEXT, units, places) == []
    counts = "return [typeof hacked, document.images.length, document.scripts.length]"
    assert driver.execute_script(counts) == ["undefined", 0, 2]
    assert faults(driver) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(opened, html, scheme):
    """WCAG AA: text 4.5 to 1, also of both authors on the deepest tint; lines of charts 3 to 1."""
    driver = opened(html)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    dark, checked, too_weak = driver.execute_script(CONTRAST)
    assert dark == (scheme == "dark")
    assert checked > 500 and too_weak == []


CONTRAST = r"""
const numbers = (color) => color.match(/[\d.]+/g).map(Number);
function behind(node) {
  const [r, g, b, alpha = 1] = numbers(getComputedStyle(node).backgroundColor);
  const under = alpha < 1 ? behind(node.parentElement) : [0, 0, 0];
  return [r, g, b].map((part, i) => part * alpha + under[i] * (1 - alpha));
}
function linear(x) {
  return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
}
function luminance(rgb) {
  const [r, g, b] = rgb.map((x) => linear(x / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(color, ground) {
  const both = [luminance(numbers(color).slice(0, 3)), luminance(ground)];
  const [low, high] = both.sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
for (const author of ["senior", "junior"])
  document.querySelector(`.token.${author}`).style.setProperty("--much", 1);
const isText = (child) => child.nodeType === 3 && child.textContent.trim();
const ownText = (node) => [...node.childNodes].some(isText);
const all = [...document.body.querySelectorAll("*:not(script, noscript, title)")];
const nodes = all.filter(ownText);
const faults = [];
for (const node of [...nodes, ...document.querySelectorAll("path.run")]) {
  const style = getComputedStyle(node), line = node.tagName === "path";
  const color = line ? style.stroke : node.tagName === "text" ? style.fill : style.color;
  if (contrast(color, behind(node)) < (line ? 3 : 4.5)) faults.push(node.outerHTML);
}
return [luminance(behind(document.body)) < 0.5, nodes.length, faults];
"""
