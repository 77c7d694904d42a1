"""Models by their names on the hub: from a cache laid out by hand, and from a server that plays it.

No test leaves this machine.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import tiny
from test_train import main

from support.models import hub
from support.models.memory import architecture
from support.models.pretrained import load_pretrained, save_pretrained
from support.runs.files import read_json
from support.runs.options import UserError
from support.runs.saved import load_run

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
pytest.importorskip("safetensors")
ROOT = Path(__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = """--steps 1 --prompts-per-step 2 --group-size 2 --max-new-tokens 8 --eval-problems 2
--eval-samples 1""".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer) -> Path:
    """A Hugging Face directory of a small model."""
    directory = tmp_path_factory.mktemp("model") / "exported"
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=256)
    save_pretrained(tiny(0, **sizes), tokenizer, directory)
    return directory


@pytest.fixture
def cache(model, tmp_path, monkeypatch) -> Path:
    """The hub's cache without a network. It has tiny/llama, as huggingface_hub lays it out."""
    path = tmp_path / "hub"
    kept = path / "models--tiny--llama"
    shutil.copytree(model, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    hub.fetch.cache_clear()
    yield path
    hub.fetch.cache_clear()


def test_a_run_of_a_hub_name_keeps_its_commit_and_goes_on_without_cache_or_network(cache):
    models = ["--senior", "tiny/llama", "--junior", "self"]
    assert main(*SMALL, *models, "--out", "run") == 0
    origin = {"name": "tiny/llama", "commit": COMMIT}
    assert read_json(Path("run/models.json"), "senior") == {"senior": origin}
    assert read_json(Path("run/config.json"))["senior"] == "tiny/llama"
    shutil.rmtree(cache)
    hub.fetch.cache_clear()
    assert main("--resume", "run", "--steps", 2) == 0
    assert load_run("run").step == 2
    os.remove("run/checkpoint.pt")  # as if it was killed before its first checkpoint
    for log in ("metrics.jsonl", "evals.jsonl"):
        Path("run", log).write_text("")
    assert main("--resume", "run", "--steps", 1) == 0
    assert read_json(Path("run/models.json"), "senior") == {"senior": origin}


def test_a_directory_of_that_name_wins(cache, model):
    assert hub.is_hub_name("tiny/llama")
    sizes = load_pretrained("tiny/llama")[0].config
    assert architecture("tiny/llama") == sizes
    shutil.copytree(model, "tiny/llama")
    shutil.rmtree(cache)
    hub.fetch.cache_clear()
    assert not hub.is_hub_name("tiny/llama")
    assert load_pretrained("tiny/llama")[0].config == sizes
    assert main(*SMALL, "--senior", "tiny/llama", "--junior", "self", "--out", "run") == 0
    assert not Path("run/models.json").exists()


def test_paths_are_no_names():
    names = ["Qwen/Qwen3-0.6B", "HuggingFaceTB/SmolLM2-135M-Instruct", "a_b/c.d"]
    assert all(map(hub.is_hub_name, names))
    paths = ["smollm2", "runs/a/b", "../models", "/a/b", "~/a", "a/m.gguf", "a/m.pt", "a/c.json"]
    paths += ["a/m.safetensors", "data/problems.py", "a/", "a b/c"]
    assert not any(map(hub.is_hub_name, paths))


def test_what_the_cache_lacks_is_one_line_offline(cache, monkeypatch):
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set; unset it, or fetch it elsewhere"):
        hub.fetch("tiny/other")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(UserError, match=f"doesn't fit on the disk of {cache}; make room, or set"):
        hub.fetch("tiny/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="huggingface_hub is missing: pip install huggingface_hub"):
        hub.fetch("tiny/other")


class FakeHub(BaseHTTPRequestHandler):
    """Plays the hub with the files of one model, under names that have faults of their own."""

    model: Path
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        name = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        files = ["pytorch_model.bin"]
        if name != "tiny/pickle":
            files += ["onnx/model.safetensors", *os.listdir(self.model)]
        if name == "tiny/absent":
            self.reply(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "/revision/" in path:
            siblings = [{"rfilename": file} for file in files]
            row = {"id": name, "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(row).encode())
        elif "/tree/" in path:
            rows = []
            for file in files:
                inside = self.model / file
                size = inside.stat().st_size if inside.exists() else 1
                rows.append({"type": "file", "path": file, "size": size, "oid": file})
            self.reply(200, json.dumps(rows).encode())
        elif name == "tiny/gated":
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif name == "tiny/broken":
            self.reply(501, b"{}")
        elif not path.startswith("/tiny/llama/"):
            self.reply(404, b"{}")
        else:
            content = (self.model / path.split("/")[-1]).read_bytes()
            self.reply(200, content, {"ETag": f'"{path[-20:]}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET

    def reply(self, code: int, content: bytes, headers=()):
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


FETCH = """
import sys
from support.models.hub import fetch
for name in sys.argv[1:]:
    try:
        print(fetch(name))
    except ValueError as error:
        print(error)
"""


def fetched(tmp_path, address: str, *names: str) -> tuple[list[str], str]:
    """What a process says that fetches each of these names from the hub at the address."""
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "3", "HF_HUB_OFFLINE": "0"}
    words = [sys.executable, "-c", FETCH, *names]
    done = subprocess.run(
        words, env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines(), done.stderr


def test_a_model_is_fetched_once_and_what_cannot_be_fetched_is_one_line(model, tmp_path):
    FakeHub.model, FakeHub.asked = model, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = ["tiny/llama", "tiny/gated", "tiny/absent", "tiny/broken", "tiny/pickle"]
    try:
        said, bar = fetched(tmp_path, address, *names)
        asked = list(FakeHub.asked)
    finally:
        server.shutdown()
        server.server_close()
    directory = Path(said[0])
    assert directory.name == COMMIT and directory.is_relative_to(tmp_path / "home")
    assert {path.name for path in directory.iterdir()} == set(os.listdir(model))
    assert not any("bin" in path or "onnx" in path for path in asked)
    assert load_pretrained(directory)[0].config == load_pretrained(model)[0].config
    assert "Fetching" in bar or "Downloading" in bar
    expected = [
        "tiny/gated is gated: ask for access at https://huggingface.co/tiny/gated, then set HF_T",
        "tiny/absent is neither a directory here nor a model of the hub; check the name; if it is",
        "tiny/broken is neither a directory here nor whole in the hub's cache, and the hub can't",
        "tiny/pickle has no weights in safetensors; make them, and give DIR instead: python -c",
    ]
    assert len(said) == 5
    for line, words in zip(said[1:], expected, strict=True):
        assert line.startswith(words), line

    gone, _ = fetched(tmp_path, address, "tiny/llama", "tiny/other")
    assert gone[0] == said[0]  # of the cache
    assert "tiny/other is neither a directory here nor whole in the hub's cache, and" in gone[1]
