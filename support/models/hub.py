"""Models by their names on the Hugging Face hub, `owner/name`, kept in its cache.

huggingface_hub fetches them. It goes on where a download was cut off, and honours HF_HOME, HF_TOKEN
and HF_HUB_OFFLINE. Only the files that are read here are fetched: no pickles, no code.
"""

import errno
import functools
import os
import re
from pathlib import Path

from support.models.tokenizers import TOKENIZER_FILES, conversion, package
from support.runs.options import UserError

WEIGHTS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
OTHER_FORMS = (".pt", ".gguf", ".safetensors", ".json")  # of files, which no model's name ends in


def is_hub_name(path: str | Path) -> bool:
    """Whether it is owner/name. A file or directory of that name wins."""
    path = Path(path)
    has_form = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", path.as_posix())
    return bool(has_form) and path.suffix not in OTHER_FORMS and not path.exists()


@functools.cache
def fetch(name: str, files: tuple[str, ...] = (*TOKENIZER_FILES, *WEIGHTS)) -> Path:
    """The directory of a model in the cache, named by its commit. UserError if it can't be had.

    The network is asked once in a process. If it is down, the last commit in the cache is taken.
    """
    hub = package("huggingface_hub")
    utils = package("huggingface_hub.utils")
    if os.environ.get("RANK", "0") != "0":
        utils.disable_progress_bars()  # one process speaks
    try:
        directory = Path(hub.snapshot_download(name, allow_patterns=files))
    except Exception as error:  # noqa: BLE001 (a network has faults of many classes)
        raise UserError(f"{name} {fault(name, error)}") from None
    if WEIGHTS[0] in files and not any(directory.glob("*.safetensors")):
        make = conversion("AutoModelForCausalLM", name, "DIR")
        raise UserError(
            f"{name} has no weights in safetensors; make them, and give DIR instead: {make}"
        )
    return directory


def fault(name: str, error: Exception) -> str:
    """Why a model can't be fetched, and the remedy."""
    utils = package("huggingface_hub.utils")
    constants = package("huggingface_hub.constants")
    cause = error.__cause__ or error
    reason = str(cause).partition("\n")[0] or type(cause).__name__
    if isinstance(error, utils.GatedRepoError):
        ask = f"ask for access at https://huggingface.co/{name}"
        return f"is gated: {ask}, then set HF_TOKEN, or run hf auth login"
    if isinstance(error, utils.RepositoryNotFoundError):
        private = "if it is private, set HF_TOKEN, or run hf auth login"
        return f"is neither a directory here nor a model of the hub; check the name; {private}"
    if isinstance(error, utils.LocalEntryNotFoundError):
        missing = "is neither a directory here nor whole in the hub's cache"
        elsewhere = f"fetch it elsewhere, by hf download {name} --local-dir DIR, and give DIR"
        if constants.HF_HUB_OFFLINE:
            return f"{missing}, and HF_HUB_OFFLINE is set; unset it, or {elsewhere}"
        return f"{missing}, and the hub can't be reached ({reason}); try again, or {elsewhere}"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        cache = constants.HF_HUB_CACHE
        return f"doesn't fit on the disk of {cache}; make room, or set HF_HOME to another disk"
    return f"can't be fetched ({reason}); the same command goes on with the download"


def commits(models: dict[str, str | None]) -> dict[str, dict]:
    """The name and the commit of each of a run's models that came from the hub.

    `models` has a path, a name or None by role: senior, junior …
    """
    found = {}
    for role, name in models.items():
        if name is not None and is_hub_name(name):
            found[role] = {"name": name, "commit": fetch(name).name}
    return found
