"""Options that come from an earlier run: --resume goes on with it, --like begins another one."""

import contextlib
from dataclasses import fields
from pathlib import Path

from support.runs.fields import NO_EFFECT, OF_ONE_RUN, WITH_STEPS, marked
from support.runs.files import data_copies, directory_of, read_json
from support.runs.options import UserError, option

NEEDED = ("schedule", "seed", "steps")


def earlier_options(cls: type, given: dict) -> dict:
    """The options given, completed by those of the run to `resume`, or of the one to be `like`."""
    if "resume" in given and "like" in given:
        raise UserError("--resume goes on with a run, --like begins another; give one of them")
    if "resume" in given:
        return resumed(cls, given)
    if "like" in given:
        return alike(cls, given)
    return given


def resumed(cls: type, given: dict) -> dict:
    """The run's options, and those given. UserError if a given one may not change."""
    path = directory_of(given["resume"]) / "config.json"
    saved = {field.name: field.default for field in fields(cls)}
    saved |= read_json(path, *NEEDED)
    free = ("steps", "resume", *marked(cls, NO_EFFECT))
    for name, value in given.items():
        if name not in free and value != saved.get(name):
            raise UserError(
                f"{option(name)} {value} contradicts {saved.get(name)} in {path}; "
                "begin a new run for it"
            )
    if given.get("steps", saved["steps"]) != saved["steps"]:
        refuse_other_steps(cls, saved, path)
    done = path.with_name("eval.json")
    if "export" not in given and done.exists():
        exported = read_json(done, "config")["config"]["export"]
        if exported == saved["export"]:
            saved["export"] = None  # it is done
    return saved | given


def refuse_other_steps(cls: type, saved: dict, path: Path) -> None:
    """UserError if an option is set that means something else with other --steps."""
    defaults = {field.name: field.default for field in fields(cls)}
    for name in marked(cls, WITH_STEPS):
        if saved[name] != defaults[name]:
            raise UserError(
                f"--steps {saved['steps']} can't change: {option(name)} {saved[name]} in {path} "
                "depends on it; begin a new run"
            )


def alike(cls: type, given: dict) -> dict:
    """The options of another run, and those given.

    A default that followed from other options, as --clip from --loss, follows from the new ones.
    """
    directory = directory_of(given["like"])
    saved = read_json(directory / "config.json", *NEEDED)
    for name in marked(cls, OF_ONE_RUN):
        saved.pop(name, None)
    following = [field.name for field in fields(cls) if field.default is None]
    decided = {name: value for name, value in saved.items() if name not in following}
    with contextlib.suppress(TypeError, ValueError):  # the parser says more of what can't be
        plain = cls(**decided)
        for name in following:
            if name in saved and saved[name] == getattr(plain, name):
                del saved[name]
    for name, copy in data_copies({"data": None, "test_data": None} | saved, directory).items():
        if not Path(saved[name]).exists():
            saved[name] = copy
    return saved | given
