#!/usr/bin/env python3
"""Regexes and NFC over every code point, beside Hugging Face tokenizers.

    every_code_point.py SaddleSplitEveryCodePoint [tokenizer.json...]

(needs tokenizers 0.23). Six texts and more for each of 1,112,064 code points; patterns are
those below and those of the files. Prints where the two differ; exit 1 when they do.
"""

import json
import pathlib
import subprocess
import sys

from tokenizers import Regex, normalizers, pre_tokenizers

BLOCK = 4096
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "han": r"[\p{Han}]+|[一-龥]|[^\x{00}-\x{7f}\p{Han}]+|\p{Lt}|\p{Me}|\p{C}",
    "marks": r"\p{M}+|\p{P}|\p{S}|\p{Z}|\p{Nd}|\d|[\P{L}]{2}",
}


def hash_of(words, value=0xcbf29ce484222325):
    for word in words:
        for byte in word.encode() + b"\xff":
            value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return value


def texts(c):
    return (c, f"a{c}b", f"A {c}1 2{c}", f"{c}{c}'s {c}\n", f" {c}'{c}S", f"!{c}?中{c}")


def texts_to_compose(c):
    return (c, f"x\u0300{c}", f"x{c}\u0334", f"a{c}\u0301", f"e\u0301{c}\u0323",
            f"\u1100{c}", f"{c}\u11a8")


def reference(pattern):
    """Without a pattern, of NFC."""
    nfc = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(pattern or "x"), "isolated")

    def cut(text):
        return (w for w, _ in split.pre_tokenize_str(text)) if pattern else \
            (nfc.normalize_str(text),)
    make = texts if pattern else texts_to_compose
    for first in range(0, 0x110000, BLOCK):
        value = hash_of(())
        for code in range(first, first + BLOCK):
            if not 0xd800 <= code < 0xe000:
                for text in make(chr(code)):
                    value = hash_of(cut(text), value)
        yield value


def patterns_of(path):
    """Of Split stages."""
    def walk(node):
        if isinstance(node, dict):
            if node.get("type") == "Split" and "Regex" in node.get("pattern", {}):
                yield node["pattern"]["Regex"]
            node = node.values()
        if not isinstance(node, (str, int, float, bool, type(None))):
            for each in node:
                yield from walk(each)
    for i, pattern in enumerate(walk(json.loads(pathlib.Path(path).read_text()))):
        yield f"{path} {i}", pattern


def main():
    program, *files = sys.argv[1:]
    patterns = {"NFC": ""} | PATTERNS
    for path in files:
        patterns |= dict(patterns_of(path))
    different = 0
    for name, pattern in patterns.items():
        found = subprocess.run([program], input=pattern.encode(), check=True,
                               stdout=subprocess.PIPE).stdout.split()
        blocks = [i for i, (a, b) in enumerate(zip(found, reference(pattern)))
                  if int(a, 16) != b]
        different += len(blocks)
        print(f"{name}: {len(found) - len(blocks)} of {len(found)} blocks agree"
              + "".join(f"\n  U+{i * BLOCK:04X} and {BLOCK - 1} more differ"
                        for i in blocks), flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
