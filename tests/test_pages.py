"""Every link of a page leads to a file that git has, to a heading that exists, or to the web."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
PAGES = [ROOT / "README.md", ROOT / "results/README.md", *ROOT.glob("support/**/README.md")]


def without_code(text: str) -> str:
    """The text without blocks of code and without `code`."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def links_of(text: str) -> list[str]:
    """The targets of [links](…) and of ![pictures](…)."""
    return LINK.findall(without_code(text))


def anchors_of(text: str) -> set[str]:
    """The headings as GitHub names them: lower case, hyphens for spaces, no punctuation."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {word.strip().replace(" ", "-") for word in words}


@pytest.fixture(scope="module")
def tracked() -> set[Path]:
    """The files and folders that git has."""
    command = ["git", "ls-files"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this isn't a git repository")
    files = {ROOT / name for name in listed.stdout.splitlines()}
    return files | {folder for file in files for folder in file.parents}


def fault(link: str, page: Path, tracked: set[Path]) -> str | None:
    """What is wrong with a link of a page."""
    if link.startswith(("https://", "http://")):
        return None
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if target not in tracked:
        return f"{link}: git has no such file"
    if anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")):
        return f"{link}: there is no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page, tracked):
    links = links_of(page.read_text(encoding="utf-8"))
    faults = [fault(link, page, tracked) for link in links]
    assert [fault for fault in faults if fault] == []


def test_most_links_are_found():
    links = [link for page in PAGES for link in links_of(page.read_text(encoding="utf-8"))]
    assert len(links) > 30 and "jargon.svg" in links and "#the-search" in links


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[a](README.md) ![b](results/tandem.svg)", []),
        ("[a\nb](https://arxiv.org/abs/2606.28166)", []),
        ("[a](#files) [b](results/README.md#work)", []),
        ("`[a](no.md)` and\n```\n[a](no.md)\n```", []),
        ("![a](results/page.png)", ["results/page.png: git has no such file"]),
        ("[a](#nowhere)", ["#nowhere: there is no such heading"]),
        ("[a](results/README.md#no)", ["results/README.md#no: there is no such heading"]),
        ("[a](runs/word)", ["runs/word: git has no such file"]),
    ],
)
def test_a_broken_link_is_found(text, expected, tracked):
    links = links_of(text)
    faults = [fault(link, ROOT / "README.md", tracked) for link in links]
    assert [fault for fault in faults if fault] == expected


def test_git_for_windows_leaves_newlines_as_they_are(tracked):
    """Bash reads no script with others, and the tokenizer would be another file."""
    names = ["results/jargon.sh", ".ci/run", "data/tokenizer.tiktoken", "tests/answers.jsonl"]
    command = ["git", "check-attr", "eol", "--", *names]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"{name}: eol: lf" for name in names]
    assert Path(ROOT / ".gitattributes") in tracked
