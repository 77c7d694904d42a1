"""`python -m support.people WORD …`: commands for people who look at runs. Each explains itself with --help."""

import sys
from importlib import import_module

COMMANDS = {  # a word, and the module whose main() it runs, imported only then
    "make": "support.people.study",
    "machine": "support.people.machine",
    "score": "support.people.score",
    "page": "support.people.page",
}

if __name__ == "__main__":
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word not in COMMANDS:
        words = ",".join(COMMANDS)
        print(
            f"usage: python -m support.people {{{words}}} …; each explains itself with --help",
            file=sys.stderr,
        )
        raise SystemExit(2)
    sys.argv[:2] = [f"python -m support.people {word}"]  # which its --help shows
    import_module(COMMANDS[word]).main()
