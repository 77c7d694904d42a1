"""The study's pages: their balance, their secrets, and a rater's whole way in a browser."""

import hashlib
import json
import random
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest
from browser import Keys, browser, faults, narrow, overflow  # noqa: F401

import train
from data.problems import first_problems, write_solution
from reward import verify
from support.people import machine, score, study
from support.people.study import Arm, Options

SHIPPED = Path(__file__).parent.parent / "data"
JUNIOR = SHIPPED / "junior.pt"
HOSTILE = (
    "</script><script>document.title='broken'</script> \"'& "
    "\u2028 שלום 😀 <b>\x07 @DATA@ \\u003c\n\n\\boxed{1}"
)


def made(
    raters: int = 4,
    items: int = 12,
    arms=("word", "solo"),
    tasks: str = "take-over,check,rate",
    text=None,
):
    """A key as `make` makes it, of solutions in two languages or of one text."""
    options = Options(runs=list(arms), raters=raters, items=items, tasks=tasks)
    problems = first_problems("test", items, 0)
    rng = random.Random(0)
    task_of = study.tasks_of_problems(options)
    made_arms = []
    for n, name in enumerate(arms):
        language = ("plain", "jargon")[n % 2]
        shown = []
        for k, problem in enumerate(problems):
            solution = text or write_solution(problem, language)
            if task_of[k] == "take-over":
                shown.append(study.cut(solution, rng.random()))
            else:
                shown.append(study.pick([solution], problem.answer, k % 2 == 0, rng))
        made_arms.append(Arm(name, shown, [0.5] * items))
    return study.make_key(problems, task_of, made_arms, options, "{question}")


def counted(items: list[dict], task: str | None = None) -> list[dict]:
    """A rater's items that count, of one task or of all."""
    return [i for i in items if i["kind"] == "item" and task in (None, i["task"])]


@pytest.mark.parametrize("raters, items, arms", [(4, 12, 2), (6, 18, 3), (12, 24, 4), (3, 9, 3)])
def test_arms_are_balanced_and_no_problem_comes_twice(raters, items, arms):
    key = made(raters, items, [f"arm{n}" for n in range(arms)])
    seen = Counter()  # (problem, arm)
    places = Counter()  # (task, place in its block, arm)
    firsts = set()
    for rater in key["raters"].values():
        assert [item["id"] for item in rater] == [f"{n:02}" for n in range(1, len(rater) + 1)]
        of_all = counted(rater)
        assert sorted(item["problem"] for item in of_all) == list(range(items))
        seen.update((item["problem"], item["arm"]) for item in of_all)
        firsts.add(of_all[0]["problem"])
        for task in key["tasks"]:
            arms_of_block = [item["arm"] for item in counted(rater, task)]
            assert set(Counter(arms_of_block).values()) == {items // 3 // arms}
            places.update((task, n, arm) for n, arm in enumerate(arms_of_block))
    if raters % arms == 0:
        assert set(seen.values()) == {raters // arms} and len(seen) == items * arms
        assert max(places.values()) - min(places.values()) <= 2 and len(places) == items * arms
    assert len(firsts) > 1  # a block doesn't begin with the same problem for all


@pytest.mark.parametrize("tasks", ["take-over,check,rate", "take-over", "rate,check"])
def test_each_block_begins_with_practice_and_two_items_check_attention(tasks):
    for rater in made(6, 12, tasks=tasks)["raters"].values():
        kinds = [(item["task"], item["kind"]) for item in rater]
        for task in tasks.split(","):
            block = [kind for of, kind in kinds if of == task]
            assert block[0] == "practice" and "practice" not in block[1:] and block[1] == "item"
        checks = [item for item in rater if item["kind"] == "attention"]
        assert len(checks) == 2 and all(item["expected"] for item in checks)


def test_half_of_the_responses_to_check_are_wrong_in_every_arm():
    checked = []
    for items in made(8, 24)["raters"].values():
        checked += counted(items, "check")
    assert all(item["right"] == verify(item["shown"], item["answer"]) for item in checked)
    shares = Counter((item["arm"], item["right"]) for item in checked)
    assert len(set(shares.values())) == 1 and len(shares) == 4


@pytest.mark.parametrize("language", ["plain", "jargon"])
def test_an_error_is_put_into_the_last_step_and_no_other(language):
    rng = random.Random(0)
    for problem in first_problems("test", 100, 1):
        response = write_solution(problem, language)
        wrong = study.with_error(response, problem.answer, rng)
        assert verify(response, problem.answer) and not verify(wrong, problem.answer)
        *steps, last, box = response.split("\n\n")
        *others, changed, other_box = wrong.split("\n\n")
        assert others == steps and other_box != box and changed != last
    assert study.with_error("no box", "1", rng) == "no box"


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_response_is_cut_after_a_step_and_not_before_the_box_alone(share):
    response = "a\n\nb\n\nc\n\n\\boxed{1}"
    begun = study.cut(response, share)
    assert response.startswith(begun) and begun in ("a\n\n", "a\n\nb\n\n")
    assert study.cut("a\n\n\\boxed{1}", share) == "a\n\n"
    assert study.cut(r"\boxed{1}", share) == ""


def test_a_page_says_neither_who_wrote_what_nor_what_is_right():
    key = made(arms=("secret-arm", "other-arm"))
    for rater, items in key["raters"].items():
        text = study.rater_page(key["study"], rater, items)
        assert "secret-arm" not in text and "other-arm" not in text and "expected" not in text
        data = json.loads(re.search(r'id="study">(.*?)</script>', text, re.DOTALL)[1])
        allowed = {"id", "task", "question", "shown", "practice"}
        assert all(set(item) <= allowed for item in data["items"])
        assert [item["shown"] for item in data["items"]] == [item["shown"] for item in items]


def test_the_protocol_names_the_seal_and_the_numbers():
    key = made()
    options = Options(runs=["a", "b"], raters=4, items=12)
    text = study.protocol(key, "the key", "80% power", options)
    assert "@" not in re.sub(r"`[^`]*`", "", text)
    assert key["study"] in text and "80% power" in text
    assert "4 raters see 12 items" in text
    assert re.search(r"`[0-9a-f]{64}`", text)


@pytest.mark.parametrize(
    "words, error",
    [
        (["runs/a"], "at least two runs"),
        (["a", "b", "--items=10"], "multiple of 3 tasks × 2 arms"),
        (["a", "b", "--tasks=rate,sing"], "--tasks rate,sing"),
        (["a", "b", "--raters=1"], "--raters"),
        (["absent", "b"], "absent"),
    ],
)
def test_bad_options_are_named(words, error, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        study.main(words)
    assert end.value.code == 2 and error in capsys.readouterr().err


# ---- The commands --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of two runs of no steps: one senior is the shipped junior, one the shipped senior."""
    folder = tmp_path_factory.mktemp("study")
    short = ["--steps=0", "--eval-problems=1", "--eval-samples=1"]
    for name in ("junior", "senior"):
        pair = [f"--senior={SHIPPED / name}.pt", f"--junior={JUNIOR}"]
        train.main([*short, f"--out={folder / name}", *pair])
    runs = [str(folder / name) for name in ("junior", "senior")]
    study.main([*runs, "--raters=4", "--items=12", "--samples=4", f"--out={folder / 'made'}"])
    return folder / "made"


def test_make_prints_the_power_and_writes_pages_key_and_protocol(studied, capsys, tmp_path):
    text = (studied / "key.json").read_bytes()
    key = json.loads(text)
    assert key["arms"] == ["junior", "senior"]
    pages = sorted(path.name for path in studied.glob("*.html"))
    assert pages == [f"rater-{r:02}.html" for r in range(1, 5)]
    told = (studied / "protocol.md").read_text()
    assert hashlib.sha256(text).hexdigest() in told and "found with" in told
    over = []
    for items in key["raters"].values():
        over += counted(items, "take-over")
    assert len(over) == 16
    assert all("\\boxed" not in item["shown"] for item in over)
    assert len({item["shown"].count("\n\n") for item in over}) > 1  # cut at different steps
    machine_is_right = key["machine"]  # after plain language, and after jargon
    assert fmean(machine_is_right["junior"]) > 0.8 and fmean(machine_is_right["senior"]) < 0.5
    with pytest.raises(SystemExit):
        study.main(["a", "b", f"--out={studied}"])
    assert "exists; give a new --out" in capsys.readouterr().err


def test_the_power_names_what_is_found(studied):
    arms = [Arm("better", [], [0.9] * 6), Arm("worse", [], [0.3] * 6)]
    options = Options(runs=["a", "b"], raters=12, items=18)
    said = study.expected_power(arms, study.tasks_of_problems(options), options)
    line = (
        r"better and worse: right 0.90 and 0.30; found with (9\d|100)%. With 80%: one of 0.[2-5]\d"
    )
    assert re.search(line, said)
    assert "left out" in study.expected_power(arms, ["check"] * 6, options)


@pytest.fixture(scope="module")
def answered(studied):
    """A copy of the study with the machine's answers, and the files of these."""
    folder = studied.with_name("answered")
    shutil.copytree(studied, folder)
    machine.main([str(folder), f"--junior={JUNIOR}"])
    return folder, sorted((folder / "machine").glob("*.json"))


def test_a_machine_in_the_raters_place_finds_the_difference(answered):
    folder, files = answered
    key = json.loads((folder / "key.json").read_text())
    right = {"junior": [], "senior": []}
    ratings = {"junior": [], "senior": []}
    for path in files:
        content = json.loads(path.read_text())
        assert content["study"] == key["study"]
        assert path.name == f"rater-{content['rater']}.json"
        items = key["raters"][content["rater"]]
        answers = content["answers"]
        for item in items:
            if item["kind"] == "attention":
                assert item["expected"].items() <= answers[item["id"]].items()
        for item in counted(items, "take-over"):
            boxed = rf"\boxed{{{answers[item['id']]['answer']}}}"
            right[item["arm"]].append(verify(boxed, item["answer"]))
        for item in counted(items, "rate"):
            ratings[item["arm"]].append(answers[item["id"]]["rating"])
    assert len(files) == 4
    assert fmean(right["junior"]) > fmean(right["senior"])
    assert min(ratings["junior"]) >= 4 and max(ratings["senior"]) <= 2


def test_a_machine_with_noise_answers_at_random(studied, answered, tmp_path):
    shutil.copytree(studied, tmp_path / "noisy")
    machine.main([str(tmp_path / "noisy"), f"--junior={JUNIOR}", "--noise=1"])
    changed = total = 0
    for path in answered[1]:
        calm = json.loads(path.read_text())["answers"]
        noisy = json.loads((tmp_path / "noisy" / "machine" / path.name).read_text())["answers"]
        changed += sum(noisy[number] != calm[number] for number in noisy)
        total += len(noisy)
    assert changed > total / 2  # the attention checks stay as they are


def test_a_machine_that_cannot_begin_says_why(answered, capsys):
    folder = str(answered[0])
    errors = {
        (folder, "--junior=x"): "machine exists",
        (folder,): "--junior is missing",
        ("absent", "--junior=x"): "absent/key.json can't be read",
    }
    for words, error in errors.items():
        with pytest.raises(SystemExit):
            machine.main(list(words))
        assert error in capsys.readouterr().err


# ---- In a browser --------------------------------------------------------------------------------


@pytest.fixture
def opened(browser, tmp_path):  # noqa: F811
    """Opens a rater's page, in a new place: what an earlier page kept isn't there."""

    def show(key, rater="01"):
        path = tmp_path / f"rater-{rater}.html"
        text = study.rater_page(key["study"], rater, key["raters"][rater])
        path.write_text(text, encoding="utf-8")
        browser.get(f"file://{path}")
        # without counting: leaving the page would save the answers again
        browser.execute_script("counting = null; localStorage.clear(); sessionStorage.clear()")
        browser.refresh()
        # It looks twice for answers: keys that came before its second look would be lost.
        deadline = time.monotonic() + 20
        while not browser.find_elements("css selector", "h1"):
            assert time.monotonic() < deadline, "no page"
            time.sleep(0.01)
        faults(browser)
        return browser

    return show


def press(driver, *keys):
    for key in keys:
        driver.switch_to.active_element.send_keys(key)


def heading(driver) -> str:
    return driver.find_element("css selector", "h1").text


def begin(driver):
    press(driver, Keys.SPACE, Keys.TAB, Keys.ENTER)


def finish(driver, items, stop=None):
    """Answer every item from the present one on, by keyboard alone.

    At the item with the id `stop` the page is reloaded.
    """
    for item in items:
        if driver.execute_script("return !document.getElementById('shown')"):
            press(driver, Keys.ENTER)  # the instructions of a block
        assert driver.find_element("id", "shown").text.split() == item["shown"].split()
        if item["task"] == "take-over":
            press(driver, Keys.TAB, "half of it", Keys.TAB, f"answer {item['id']}")
            if item["id"] == stop:
                driver.refresh()
                assert driver.find_element("id", "working").get_property("value") == "half of it"
                press(driver, Keys.TAB, Keys.TAB)
            press(driver, Keys.ENTER)
        elif item["task"] == "check":
            press(driver, Keys.TAB, Keys.SPACE, Keys.ARROW_DOWN)  # wrong
            press(driver, Keys.TAB, Keys.SPACE, Keys.ARROW_DOWN, Keys.ARROW_DOWN)  # sure: 3
            press(driver, Keys.TAB, Keys.ENTER)
        else:
            press(driver, "4", Keys.TAB, "the third line", Keys.TAB, Keys.ENTER)
        if item["kind"] == "practice":
            assert item["told"] in driver.find_element("css selector", ".feedback").text
            press(driver, Keys.ENTER)


def test_a_rater_goes_the_whole_way_by_keyboard_with_a_reload_in_the_middle(
    opened, tmp_path, capsys
):
    key = made()
    items = key["raters"]["01"]
    driver = opened(key)
    begin(driver)
    finish(driver, items, stop=items[2]["id"])
    assert heading(driver) == "Thank you, that was all" and faults(driver) == []
    content = json.loads(driver.find_element("id", "export").get_property("value"))
    assert content["format"] == "tandem-study"
    assert content["study"] == key["study"] and content["rater"] == "01"
    assert content["began"] < content["finished"] and content["withdrawn"] is False
    assert set(content["answers"]) == {item["id"] for item in items}
    for item in items:
        answer = content["answers"][item["id"]]
        assert answer["seconds"] > 0 and answer["hidden"] >= 0
        if item["task"] == "take-over":
            assert answer["answer"] == f"answer {item['id']}" and answer["working"] == "half of it"
        elif item["task"] == "check":
            assert answer["right"] is False and answer["sure"] == 3
        else:
            assert answer["rating"] == 4 and answer["stopped"] == "the third line"
    driver.refresh()  # it stays
    assert heading(driver) == "Thank you, that was all"
    folder = tmp_path / "saved"
    folder.mkdir()
    allow = {"behavior": "allow", "downloadPath": str(folder)}
    driver.execute_cdp_cmd("Page.setDownloadBehavior", allow)
    driver.find_element("id", "download").click()
    name = folder / f"{key['study']}-rater-01.json"
    end = time.monotonic() + 20
    while not name.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert json.loads(name.read_text()) == content
    (tmp_path / "key.json").write_text(json.dumps(key))
    with pytest.raises(SystemExit):  # these answers fail the attention checks
        score.main([str(tmp_path), str(name)])
    assert "1 failed an attention check" in capsys.readouterr().err
    for item in items:
        content["answers"][item["id"]] |= item.get("expected", {})
    name.write_text(json.dumps(content))
    score.main([str(tmp_path), str(name)])
    answers = json.loads((tmp_path / "scores.json").read_text())["answers"]
    assert len(answers) == 12 and Counter(row.get("rating") for row in answers)[4] == 4


def test_nothing_goes_on_without_consent_or_an_answer(opened):
    driver = opened(made())
    press(driver, Keys.TAB, Keys.ENTER)
    assert "Tick the box" in driver.find_element("css selector", "[role=alert]").text
    press(driver, Keys.SPACE, Keys.TAB, Keys.ENTER, Keys.ENTER)
    assert heading(driver) == "Go on: practice"
    driver.find_element("id", "next").click()
    assert "Give the answer" in driver.find_element("css selector", "[role=alert]").text
    press(driver, "10", Keys.ENTER, Keys.ENTER)
    assert heading(driver) == "Go on: 1 of 14"
    driver.find_element("xpath", "//button[contains(., 't go on')]").click()
    assert heading(driver) == "Go on: 2 of 14"
    first = made()["raters"]["01"][1]["id"]
    assert driver.execute_script(f"return state.answers['{first}']")["gave_up"] is True


def test_answers_outlive_a_reload_that_finds_the_local_storage_empty(opened):
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER, Keys.TAB, "half of it")
    driver.execute_script("counting = null; localStorage.clear()")  # as a busy Chromium does
    driver.refresh()
    assert heading(driver) == "Go on: practice"
    assert driver.find_element("id", "working").get_property("value") == "half of it"
    kept = json.loads(driver.execute_script("return localStorage.getItem(place)"))
    assert "half of it" in json.dumps(kept["answers"])


def test_who_withdraws_leaves_no_answers(opened):
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER, Keys.TAB, "a secret")
    driver.find_element("id", "withdraw").click()
    press(driver, Keys.TAB, Keys.ENTER)
    assert heading(driver) == "You have withdrawn"
    content = json.loads(driver.find_element("id", "export").get_property("value"))
    assert content["withdrawn"] and content["answers"] == {}
    for storage in ("localStorage", "sessionStorage"):
        kept = driver.execute_script(f"return JSON.stringify({storage})")
        assert "withdrawn" in kept and "secret" not in kept
    driver.refresh()
    assert heading(driver) == "You have withdrawn"


def test_hostile_texts_of_models_are_shown_as_text(opened):
    driver = opened(made(text=HOSTILE))
    begin(driver)
    driver.execute_script("state.position = 8; state.read.check = true; next()")
    shown = driver.execute_script("return document.getElementById('shown').textContent")
    assert shown == HOSTILE.replace("1}", shown[-2:]) and driver.title.startswith("Study")
    assert faults(driver) == []
    refused = "fetch('https://example.org').catch(e => arguments[arguments.length - 1](String(e)))"
    assert "TypeError" in driver.execute_async_script(refused)
    assert any("Content Security Policy" in said for said in faults(driver))
    press(driver, Keys.TAB)


LOOK = """
Object.defineProperty(document, 'visibilityState', {get: () => window.seen});
window.look = seen => {
  window.seen = seen;
  document.dispatchEvent(new Event('visibilitychange'));
};
"""


def test_time_counts_while_the_page_is_seen(opened):
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER)
    driver.execute_script(LOOK + "look('hidden')")
    before = driver.execute_script("return {...counting}")
    time.sleep(1)
    driver.execute_script("look('visible')")
    after = driver.execute_script("return {...counting}")
    assert after["hidden"] - before["hidden"] >= 1 and after["seconds"] - before["seconds"] < 0.5


def test_two_hundred_items_and_a_phone(opened):
    key = made(2, 198)
    driver = opened(key)
    narrow(driver)
    assert overflow(driver) <= 0
    begin(driver)
    driver.execute_script("state.read = {'take-over': 1, check: 1, rate: 1}")
    for position in (0, 1, 70, 150, 202):
        driver.execute_script(f"state.position = {position}; next()")
        assert overflow(driver) <= 0
    assert heading(driver).endswith("of 200") or "practice" in heading(driver)
    driver.execute_script("study.items[1].shown = 'x'.repeat(300); state.position = 1; next()")
    assert overflow(driver) <= 0
    driver.execute_script("state.position = 999; next()")
    assert overflow(driver) <= 0 and faults(driver) == []
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_browser_that_keeps_nothing_is_told_of(opened):
    driver = opened(made())
    driver.execute_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    begin(driver)
    assert "keeps nothing" in driver.find_element("id", "footer").text


def test_storage_that_fails_in_the_middle_is_told_of_at_once(opened):
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER)
    assert "keeps nothing" not in driver.find_element("id", "footer").text
    driver.execute_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    press(driver, Keys.TAB, "x")
    assert "keeps nothing" in driver.find_element("id", "footer").text


def test_a_page_that_finds_no_answers_looks_twice(opened):
    """A busy Chromium now and then opens a page with an empty localStorage."""
    driver = opened(made())
    first, page = driver.current_window_handle, driver.current_url
    driver.switch_to.new_window("tab")
    try:
        driver.get(page)
        navigation = "return performance.getEntriesByType('navigation')[0].type"
        assert driver.execute_script(navigation) == "reload"
        assert heading(driver) == "Can you follow these solutions?"
    finally:
        driver.close()
        driver.switch_to.window(first)


def test_a_second_tab_loses_no_answer(opened):
    """The tab that was opened last writes. The first one says so, and can go on from there."""
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER, Keys.TAB, "half of it")
    first, page = driver.current_window_handle, driver.current_url
    driver.switch_to.new_window("tab")
    second = driver.current_window_handle
    try:
        driver.get(page)
        assert driver.find_element("id", "working").get_property("value") == "half of it"
        press(driver, Keys.TAB, Keys.TAB, "10", Keys.ENTER, Keys.ENTER)
        assert heading(driver) == "Go on: 1 of 14"

        driver.switch_to.window(first)
        assert heading(driver) == "The study is open in another tab"
        kept = driver.execute_script("return localStorage.getItem(place)")
        assert json.loads(kept)["position"] == 1
        driver.execute_script("elsewhere = false; save()")  # without the event of the storage
        driver.execute_script("dispatchEvent(new Event('pagehide'))")
        assert driver.execute_script("return localStorage.getItem(place)") == kept
        driver.find_element("id", "here").click()
        assert heading(driver) == "Go on: 1 of 14"
        press(driver, Keys.TAB, "more")

        driver.switch_to.window(second)
        assert heading(driver) == "The study is open in another tab"
        driver.find_element("id", "here").click()
        assert driver.find_element("id", "working").get_property("value") == "more"
    finally:
        driver.switch_to.window(second)
        driver.close()
        driver.switch_to.window(first)


@pytest.mark.parametrize("event", ["isComposing: true", "keyCode: 229"])
def test_enter_that_ends_the_word_of_an_input_method_sends_nothing(opened, event):
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER, Keys.TAB, Keys.TAB, "12")
    enter = f"new KeyboardEvent('keydown', {{key: 'Enter', bubbles: true, {event}}})"
    driver.execute_script(f"document.activeElement.dispatchEvent({enter})")
    assert driver.find_element("id", "answer").get_property("value") == "12"
    press(driver, Keys.ENTER)
    assert driver.find_elements("css selector", ".feedback")


def test_the_sleep_of_a_computer_is_no_time_of_a_rater(opened):
    driver = opened(made())
    begin(driver)
    press(driver, Keys.ENTER)
    driver.execute_script("const then = performance.now(); performance.now = () => then + 21600e3")
    driver.execute_script("clock(true)")
    spent = driver.execute_script("return counting")
    assert spent["seconds"] < 60 and spent["hidden"] >= 21599


def test_two_pages_of_one_study_and_two_studies_keep_apart(opened, tmp_path):
    key = made()
    driver = opened(key)
    begin(driver)
    for rater, study_id in (("02", key["study"]), ("01", "another")):
        path = tmp_path / f"{study_id}-{rater}.html"
        text = study.rater_page(study_id, rater, key["raters"][rater])
        path.write_text(text, encoding="utf-8")
        driver.get(f"file://{path}")
        assert heading(driver) == "Can you follow these solutions?"
