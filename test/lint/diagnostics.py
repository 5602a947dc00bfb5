#!/usr/bin/env python3
"""Every message of an error has an identifier, a test and a line of docs/Diagnostics.md.

A message is the text in the source: the format of makeError, the literals of an emitError or
emitOpError. Its identifier is a hash of that text (D and six digits), so nothing lists messages
twice and nobody hands out numbers; another wording is another message. A test quotes a part of it
that is long enough to be found. Frames, which only put places before what others say, are no
messages. Messages that no test quotes stand in diagnostics_untested.txt, each with the reason.

    test/lint/diagnostics.py --root . [--write]

--write renews the page.
"""

import dataclasses
import hashlib
import pathlib
import re

import common

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
SPECIFIER = re.compile(r"%[-+ #0]*[\d.*]*(?:hh|h|ll|l|z|j|t|L)?[a-zA-Z]|%%")
CALL = re.compile(r"\b(makeError|emitOpError|emitError)\(")
FOLDERS = ("runtime", "models", "dialects", "passes", "compiler", "tools")
# Characters of a part that can be quoted; shorter ones are met by chance.
LEAST = 8
PAGE = "docs/Diagnostics.md"
UNTESTED = "test/lint/diagnostics_untested.txt"


@dataclasses.dataclass
class Message:
    file: str
    line: int
    kind: str  # StatusCode, or "IR"
    text: str  # with ... for what is filled in
    parts: list

    @property
    def name(self):
        return "D" + hashlib.sha256(self.text.encode()).hexdigest()[:6]


def join_literals(text):
    """Neighbouring literals as one, PRIu64 and its like as a specifier's end."""
    text = re.sub(r"\bPRI[udx](?:32|64)\b", '"u"', text)
    return re.sub(r'(?<!\\)"\s*"', "", text)


def end_of_call(text, begin):
    """Behind the parenthesis that closes the one before `begin`."""
    depth, i = 1, begin
    while depth:
        c = text[i]
        if c == '"':
            i = LITERAL.match(text, i).end()
            continue
        if c == "'" and text[i + 1] != "\\":
            i += 3
            continue
        if c == "'":
            i += 4
            continue
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(c, 0)
        i += 1
    return i


def without_comments(text):
    """The same number of lines."""
    return re.sub(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*', lambda m: m[1] or "", text)


def end_of_statement(text, i):
    while text[i] != ";":
        i = LITERAL.match(text, i).end() if text[i] == '"' else i + 1
    return i


def messages_in(path, name):
    text = without_comments(path.read_text())
    for call in CALL.finditer(text):
        end = end_of_call(text, call.end())
        body = text[call.end():end - 1]
        kind = "IR"
        if call[1] == "makeError":
            if "const char *" in body:
                continue  # its declaration
            code = re.search(r"StatusCode::(\w+)", body)
            kind = code[1] if code else ""
        else:
            body = text[call.end():end_of_statement(text, end)]
        literals = [literal.replace('\\"', '"') for literal in LITERAL.findall(join_literals(body))]
        if call[1] == "makeError":
            # The format alone; others are filled in, or alternatives of it.
            parts = SPECIFIER.split(literals[0])
        else:
            parts = literals
        parts = [part.strip(" \\n:;,.()") for part in parts]
        if not any(len(part) >= LEAST and re.search("[a-z]{3}", part) for part in parts):
            continue
        if call[1] == "makeError":
            whole = " / ".join(SPECIFIER.sub("...", literal) for literal in literals)
        else:
            whole = " ... ".join(literal.strip() for literal in literals)
        yield Message(name, text.count("\n", 0, call.start()) + 1, kind, whole,
                      [part for part in parts if part])


def all_messages(root):
    for name in common.walk(root, (".cpp", ".h"), FOLDERS):
        yield from messages_in(root / name, name)


def all_tests(root):
    """(name, text) of every test, literals joined."""
    for name in common.walk(root, (".cpp", ".h", ".c", ".mlir", ".test", ".py"), ("test",)):
        if not name.startswith(("test/lint/", "test/mutation/")):
            text = (root / name).read_text(errors="replace")
            if name.endswith((".cpp", ".h", ".c")):
                text = join_literals(text)
            yield name, re.sub(r"\s+", " ", text.replace('\\"', '"'))


def grams_of(text):
    """Every four words in a row, whatever quotes stand around them."""
    words = re.split(r'[\s"]+', text)
    return {" ".join(words[i:i + 4]) for i in range(len(words) - 3)}


def find_tests(messages, tests):
    """identifier -> the test that quotes most of the message: four words in a row that no other message
    has, or three of its parts or all of it, with something short filled in."""
    users = {}
    for message in messages:
        for part in message.parts:
            for gram in grams_of(part):
                users.setdefault(gram, set()).add(message.name)
    quoted = {}
    for name, text in tests:
        for gram in grams_of(text):
            if len(users.get(gram, ())) == 1:
                (identifier,) = users[gram]
                counts = quoted.setdefault(identifier, {})
                counts[name] = counts.get(name, 0) + 1
    found = {identifier: max(sorted(counts), key=counts.get) for identifier, counts in quoted.items()}
    for message in messages:
        if message.name in found:
            continue
        parts = [" ".join(part.split()) for part in message.parts if re.search("[a-z]{2}", part)]
        whole = re.compile(".{0,80}?".join(map(re.escape, parts)))
        runs = [re.compile(".{0,20}?".join(map(re.escape, parts[i:i + 3])))
                for i in range(len(parts) - 2) if len("".join(parts[i:i + 3])) > 2 * LEAST]
        # Words of a test may be joined with what stands around the quote.
        own = [quote for part in parts for quote in [part, *grams_of(part)]
               if len(quote) >= 2 * LEAST and len(users.get(quote, ())) < 2]
        for name, text in tests:
            if (len("".join(parts)) >= LEAST and whole.search(text)) or \
                    any(quote in text for quote in own) or any(run.search(text) for run in runs):
                found[message.name] = name
                break
    return found


def read_untested(path):
    if not path.exists():
        return {}
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ").replace("\\n", " ")


def page_of(found, untested):
    lines = ["# Diagnostics", "",
             "Generated by `test/lint/diagnostics.py --write`. Every message of an error in the source, by its identifier, a hash of its text: who changes the wording",
             "renames the message. Three dots stand for what is filled in, and / between alternatives. `IR` are errors of dialects and passes, whose rules have",
             "names of their own ([Testing.md](Testing.md), \"One id, three places\"); all others say by their code who can mend it (`runtime/src/base/Status.h`).",
             "Identifiers are not printed.", "",
             "| id | code | message | where | test |", "| --- | --- | --- | --- | --- |"]
    for message, test in sorted(found, key=lambda pair: (pair[0].file, pair[0].line)):
        where = test or "none: " + untested.get(message.name, "")
        lines.append(f"| {message.name} | {message.kind} | {cell(message.text)} | {message.file} | {cell(where)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--write", action="store_true", help="renew the page")
    args = parser.parse_args()
    root = pathlib.Path(args.root)
    tests = list(all_tests(root))
    untested = read_untested(root / UNTESTED)
    messages = list(all_messages(root))
    tested = find_tests(messages, tests)
    found = [(message, tested.get(message.name)) for message in messages]
    errors = []
    names = {}
    for message, test in found:
        other = names.setdefault(message.name, message)
        if other.text != message.text:
            errors.append(f"{message.file}:{message.line}: {message.name} is also the identifier of "
                          f"{other.file}:{other.line}; reword one of them")
        if test is None and message.name not in untested:
            errors.append(f"{message.file}:{message.line}: no test quotes {message.name}: "
                          f"{message.text}")
    for name in untested:
        if all(message.name != name or test for message, test in found):
            errors.append(f"{UNTESTED}: {name} is tested or gone; delete its line")
    page = page_of(found, untested)
    path = root / PAGE
    if args.write:
        path.write_text(page)
    elif not path.exists() or path.read_text() != page:
        errors.append(f"{PAGE} is stale; run test/lint/diagnostics.py --root . --write")
    common.finish(errors)


if __name__ == "__main__":
    main()
