"""Runs on disk, read with the options that train.py has now.

An older run lacks the options that were added since. This is the one place where it gets them, with
their defaults. A fork's run may have options that are unknown here: they stay.
"""

from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace

from support.runs.fields import NO_EFFECT, OF_ONE_RUN, marked
from support.runs.files import data_copies, read_json, read_torch
from support.runs.options import UserError
from support.runs.pair import load_any, load_models, model_names


def config_class() -> type:
    """train.py's Config. Nothing that train.py imports may lead here."""
    from train import Config

    return Config


def completed(options: dict, source: str | Path) -> dict:
    """A run's options, and the defaults of those that it lacks. UserError if one can't be."""
    cls = config_class()
    known = [field.name for field in fields(cls)]
    given = {name: options[name] for name in known if name in options}
    try:
        return asdict(cls(**given)) | options
    except (TypeError, ValueError) as error:
        raise UserError(f"{source} has options that can't be ({error}); restore it") from None


def with_effect(options: dict) -> dict:
    """The options that change a run's numbers, without the seed. Equal ones are one condition."""
    cls = config_class()
    others = {"seed", *marked(cls, NO_EFFECT), *marked(cls, OF_ONE_RUN)}
    return {name: value for name, value in options.items() if name not in others}


def load_run(directory: str | Path) -> SimpleNamespace:
    """A run on disk: its `config`, the `step` reached, and its models.

    `senior` and `junior` are those of the checkpoint, `before` is the senior that the run began
    with. `models` and `models_before` have all of them by name.
    """
    directory = Path(directory)
    path = directory / "config.json"
    needed = ("schedule", "seed", "steps", "data", "test_data", "max_new_tokens")
    options = completed(read_json(path, *needed), path)
    options |= data_copies(options, directory)
    config = SimpleNamespace(**options)
    names = model_names(config, config_class())
    path = directory / "checkpoint.pt"
    content = read_torch(path)
    paths = {name: directory / f"{name}.pt" for name in names}
    models, tokenizer = load_models(paths | {"senior": path}, content=content)
    before = dict(models)
    before["senior"], _ = load_any(paths["senior"])
    for name, state in content.get("moving", {}).items():
        models[name], _ = load_any(paths[name])
        models[name].load_state_dict(state)
    return SimpleNamespace(
        config=config,
        step=content.get("step"),
        models=models,
        models_before=before,
        before=before["senior"],
        senior=models["senior"],
        junior=models["junior"],
        tokenizer=tokenizer,
    )
