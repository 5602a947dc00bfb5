"""What the runtime's ops are is said once, in runtime/ops. So no source of the
product compares a string with an op's name to find out what to do: it asks the
op's definition, or an interface of the IR's op.

    if (kernel.getReference() == "select_rows")   // bad
    .Case("linear", planLinear)                   // fine: a table by name

Names are those of the table in runtime/ops/Ops.cpp."""

import re

import common

FOLDERS = ("compiler", "dialects", "models", "passes", "runtime", "tools")
HOME = "runtime/ops/"
TABLE = "runtime/ops/Ops.cpp"
NAME = re.compile(r'^      \{"(\w+)",')


def main():
    args = common.arguments(__doc__).parse_args()
    paths = common.walk(args.root, common.CXX_SUFFIXES + (".cuh", ".td"), FOLDERS)
    names = sorted({found[1] for _, line in common.lines(args.root, TABLE) if (found := NAME.match(line))})
    problems = []
    if not names:
        problems.append(f"{TABLE}: no op says its name")
    any_name = "|".join(names)
    comparison = re.compile(rf'[!=]= ?"({any_name})"|"({any_name})" ?[!=]=|(?:equals|compare|strcmp)\([^)]*"({any_name})"')
    for path in paths:
        if path.startswith(HOME):
            continue
        for number, line in common.lines(args.root, path):
            if names and (found := comparison.search(line)):
                name = next(group for group in found.groups() if group)
                problems.append(f'{path}:{number}: compares with the op\'s name "{name}"; ask its definition')
    common.finish(problems)


if __name__ == "__main__":
    main()
