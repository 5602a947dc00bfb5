"""What depends on the target is asked of its object (passes/Target/Target.h).
So no source of the compiler or of a tool spells a target's name as a string,
except those of passes/Target, where each target says its own:

    StringRef name() const override { return "sm_90a"; }

Texts that mention a name among other words are no names. The runtime has one
place of its own (runtime/src/session/Backends.cpp)."""

import re

import common

FOLDERS = ("compiler", "passes", "tools")
HOME = "passes/Target/"
NAME = re.compile(r'\bname\(\) const override \{ return "(\w+)"; \}')


def main():
    args = common.arguments(__doc__).parse_args()
    paths = common.walk(args.root, common.CXX_SUFFIXES + (".td",), FOLDERS)
    names = set()
    for path in paths:
        if path.startswith(HOME):
            for _, line in common.lines(args.root, path):
                names.update(NAME.findall(line))
    problems = []
    if not names:
        problems.append(f"{HOME}: no target says its name")
    for path in paths:
        if path.startswith(HOME):
            continue
        for number, line in common.lines(args.root, path):
            for name in sorted(names):
                if re.search(rf'"{name}\\?"', line):
                    problems.append(f'{path}:{number}: spells the target name "{name}"; ask the Target')
    common.finish(problems)


if __name__ == "__main__":
    main()
