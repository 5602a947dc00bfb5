"""FileCheck takes a directive with a typing error for a comment, so the test
passes without checking anything. In every file with a FileCheck RUN line, and
for each of its prefixes, these are errors:

    // CHECK-NEXT foo      no colon behind a known suffix
    // CHECK : foo         a space before the colon
    // CHECK-NXT: foo      an unknown suffix
"""

import re

import common

SUFFIX = r"(?:NEXT|SAME|DAG|NOT|LABEL|EMPTY|COUNT-\d+)(?:\{LITERAL\})?"
PREFIXES = re.compile(r"--?check-prefix(?:es)?[= ]([\w,-]+)")


def prefixes(text):
    """Prefixes of all FileCheck runs of a file."""
    found = set()
    # A RUN line that ends with a backslash goes on in the next one.
    runs = re.sub(r"\\\n\s*(?://|#|;)\s*RUN:", " ", text)
    for line in re.findall(r"RUN:.*\bFileCheck\b.*", runs):
        named = PREFIXES.findall(line)
        found.update(name for names in named for name in names.split(",")) if named else found.add("CHECK")
    return found


def problem(line, known):
    """What is wrong with a line, or None."""
    for prefix in known:
        comment = rf"^\s*(?://|#|;)\s*{re.escape(prefix)}"
        if re.search(rf"{comment}-{SUFFIX}(?![\w{{:-])", line):
            return f"a {prefix} directive without a colon right behind it"
        if re.search(rf"{comment}\s+:", line):
            return f"a {prefix} directive with a space before the colon"
        match = re.search(rf"{comment}-([\w-]+(?:\{{LITERAL\}})?):", line)
        if match and not re.fullmatch(SUFFIX, match[1]) and f"{prefix}-{match[1]}" not in known:
            return f'"{prefix}-{match[1]}:" is no FileCheck directive'
    return None


def main():
    args = common.arguments(__doc__).parse_args()
    problems = []
    for path in common.walk(args.root, (".mlir", ".test"), ("test",)):
        numbered = common.lines(args.root, path)
        known = prefixes("\n".join(line for _, line in numbered))
        for number, line in numbered:
            message = problem(line, sorted(known))
            if message:
                problems.append(f"{path}:{number}: {message}")
    common.finish(problems)


if __name__ == "__main__":
    main()
