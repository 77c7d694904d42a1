"""`python -m support.people WORD …`: commands for people who look at runs."""

import sys
from importlib import import_module

COMMAND_MODULES = {  # the module whose main() a word runs; it is imported only then
    "make": "support.people.study",
    "machine": "support.people.machine",
    "score": "support.people.score",
    "page": "support.people.page",
}

if __name__ == "__main__":
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word not in COMMAND_MODULES:
        words = ",".join(COMMAND_MODULES)
        usage = f"usage: python -m support.people {{{words}}} …; each explains itself with --help"
        print(usage, file=sys.stderr)
        raise SystemExit(2)
    sys.argv[:2] = [f"python -m support.people {word}"]  # the name of the command in its --help
    import_module(COMMAND_MODULES[word]).main()
