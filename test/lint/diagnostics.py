#!/usr/bin/env python3
"""Every message of an error or a warning has an identifier, a test and a line of docs/Diagnostics.md.

A message is the text in the source: the format of makeError and of what calls it, the literals of
an emitError, emitOpError or emitWarning. Its identifier is a hash of that text (D and six digits), so nothing
lists messages twice and nobody hands out numbers; another wording is another message. Errors print
it: runtime/src/base/Status.cpp hashes formats in the same way, and errors of passes that are the
user's are given theirs by asUserError, which is held to it here. A test quotes a part of a message
that is long enough to be found. Frames, which put places before what others say, are no messages:
retellError and within() keep the identifier. Messages that no test quotes stand in
diagnostics_untested.txt, each with the reason.

    test/lint/diagnostics.py --root . [--write]

--write renews the page.
"""

import dataclasses
import pathlib
import re

import common

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
SPECIFIER = re.compile(r"%[-+ #0]*[\d.*]*(?:hh|h|ll|l|z|j|t|L)?[a-zA-Z]|%%")
# Calls with a format: which argument it is, and the code where none is given.
FORMATTED = {"makeError": (1, "varies"), "fail": (1, "InvalidArgument"), "error": (1, "DataLoss"), "refuse": (0, "DataLoss"),
             "warn": (2, "Warning")}
CALL = re.compile(r"\b(emitOpError|emitError|emitWarning|" + "|".join(FORMATTED) + r")\(")
# A message that is needed where no error can be made.
CONSTANT = re.compile(r'\bconstexpr char k\w+Text\[\] =((?:\s*"(?:[^"\\]|\\.)*")+);')
BARE_STATUS = re.compile(r"\bStatus\((?=StatusCode::)")
USER_ERROR = re.compile(r'asUserError\(\s*"(\w*)",[\s\w().:>-]*$')
FOLDERS = ("runtime", "models", "dialects", "passes", "compiler", "tools")
# Characters of a part that can be quoted; shorter ones are met by chance.
LEAST = 8
PAGE = "docs/Diagnostics.md"
UNTESTED = "test/lint/diagnostics_untested.txt"


def identifier_of(text):
    """FNV-1a of 32 bits, folded to 24, as identify() of runtime/src/base/Status.h has it."""
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return f"D{(value >> 24 ^ value) & 0xFFFFFF or 1:06x}"


def unescaped(literal):
    """What the compiler makes of a literal."""
    simple = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
    return re.sub(r"\\(.)", lambda m: simple[m[1]], literal)


@dataclasses.dataclass
class Message:
    file: str
    line: int
    kind: str  # StatusCode, or "IR"
    text: str  # with ... for what is filled in
    parts: list
    name: str


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


def arguments_of(body):
    """Those of a call, literals joined."""
    found, depth, i, begin = [], 0, 0, 0
    body = join_literals(body)
    while i < len(body):
        c = body[i]
        if c == '"':
            i = LITERAL.match(body, i).end()
            continue
        if c == "'":
            i += 4 if body[i + 1] == "\\" else 3
            continue
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(c, 0)
        if c == "," and depth == 0:
            found.append(body[begin:i].strip())
            begin = i + 1
        i += 1
    return found + [body[begin:].strip()]


def stripped(parts):
    return [part for part in (part.strip(" \\n:;,.()") for part in parts) if part]


def formatted_message(place, code, literal, alternatives=()):
    """Of a format; others are filled in, or alternatives of it."""
    literal = literal.replace('\\"', '"')
    text = SPECIFIER.sub("...", literal)
    alternatives = [SPECIFIER.sub("...", each.replace('\\"', '"')) for each in alternatives]
    return Message(*place, code, " / ".join([text, *alternatives]), stripped(SPECIFIER.split(literal)),
                   identifier_of(SPECIFIER.sub("...", unescaped(literal))))


def messages_in(path, name, errors):
    text = without_comments(path.read_text())

    def place(at):
        return name, text.count("\n", 0, at) + 1

    for constant in CONSTANT.finditer(text):
        yield formatted_message(place(constant.start()), "ResourceExhausted",
                                LITERAL.search(join_literals(constant[1]))[1])
    for status in BARE_STATUS.finditer(text):
        end = end_of_call(text, status.end())
        if len(arguments_of(text[status.end():end - 1])) < 3:
            errors.append(f"{name}:{place(status.start())[1]}: an error without identifier; say it "
                          "with makeError")
    for call in CALL.finditer(text):
        end = end_of_call(text, call.end())
        body = text[call.end():end - 1]
        where = place(call.start())
        if call[1] in FORMATTED:
            index, code = FORMATTED[call[1]]
            arguments = arguments_of(body)
            literal = LITERAL.fullmatch(arguments[index]) if len(arguments) > index else None
            if not literal:
                if call[1] == "makeError" and "const char *" not in body:
                    errors.append(f"{name}:{where[1]}: the format of makeError is not one literal")
                continue  # a declaration, or a function that is only called alike
            given = re.search(r"StatusCode::(\w+)", body)
            yield formatted_message(where, given[1] if given else code, literal[1],
                                    LITERAL.findall(" ".join(arguments[index + 1:])))
            continue
        body = text[call.end():end_of_statement(text, end)]
        literals = [literal.replace('\\"', '"') for literal in LITERAL.findall(join_literals(body))]
        parts = stripped(literals)
        if not any(len(part) >= LEAST and re.search("[a-z]{3}", part) for part in parts):
            continue
        whole = " ... ".join(literal.strip() for literal in literals)
        message = Message(*where, "IR", whole, parts, identifier_of(whole))
        marked = USER_ERROR.search(text, max(0, call.start() - 200), call.start())
        if marked and marked[1] != message.name:
            errors.append(f"{name}:{where[1]}: asUserError is given {marked[1]}, the identifier is "
                          f"{message.name}")
        yield message


def all_messages(root, errors):
    for name in common.walk(root, (".cpp", ".h"), FOLDERS):
        yield from messages_in(root / name, name, errors)


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
            if (len("".join(parts)) >= LEAST - 2 and whole.search(text)) or \
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
    return text.replace("|", "\\|").replace("\n", " ")


def page_of(found, untested):
    lines = ["# Diagnostics", "",
             "Generated by `test/lint/diagnostics.py --write`. Every message of an error or a warning in the source, by its identifier, a hash of its text: who changes the wording",
             "renames the message. Tools print it behind the message, and the C API's messages end with it: `error: no such file [D3fa201]`. Three dots stand for what",
             "is filled in, and / between alternatives of it. `IR` are errors of dialects and passes, whose rules have names of their own ([Testing.md](Testing.md),",
             "\"One id, three places\"); of these, only those that the user caused print their identifier ([decision 16](decisions/0016-identifiers-of-messages.md)).",
             "All others say by their code who can mend it (`runtime/src/base/Status.h`).", "",
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
    errors = []
    messages = list(all_messages(root, errors))
    tested = find_tests(messages, tests)
    found = [(message, tested.get(message.name)) for message in messages]
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
