#!/usr/bin/env python3
"""Writes UnicodeData.inc: what regexes and normalizers of tokenizers ask about a character.

    make_unicode_data.py        (in this folder; needs unicodedata2 16.0.0, regex, perl)

The versions are those of `tokenizers` 0.23: its regexes go by Unicode 16, its NFC by
Unicode 9. every_code_point.py in test/unit/text shows that. Scripts come from `regex`,
whose Unicode may be newer: a character that version 16 has keeps its script. The age of
a character comes from perl; it never changes.
"""

import pathlib
import subprocess
import textwrap

import regex
import unicodedata2

VERSION = "16.0.0"
NFC_VERSION = "9.0"


def runs(values):
    """[(first code point, value)]"""
    result = []
    for code, value in enumerate(values):
        if not result or result[-1][1] != value:
            result.append((code, value))
    return result


def nfc_edges():
    """Where characters that the version of NFC has begin and end."""
    script = ("no warnings; my $last = 0; for my $c (0..0x10ffff) {"
              f" my $in = chr($c) =~ /\\p{{Present_In: {NFC_VERSION}}}/ ? 1 : 0;"
              " if ($in != $last) { printf \"0x%x \", $c; $last = $in } }")
    return subprocess.run(["perl", "-e", script], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.split()


def lines(items):
    return "\n".join(textwrap.wrap(", ".join(items), 78)) + "\n"


def main():
    assert unicodedata2.unidata_version == VERSION, unicodedata2.unidata_version
    every = [chr(code) for code in range(0x110000)]
    categories = [unicodedata2.category(c) for c in every]
    found = runs(categories)
    han = runs([category not in ("Cn", "Cs") and bool(regex.match(r"\p{Han}", c))
                for c, category in zip(every, categories)])
    text = (f"// Unicode {VERSION}, by make_unicode_data.py: where runs of characters of one\n"
            "// general category begin, the category of each, and where Han begins and ends.\n"
            "static constexpr uint32_t runStarts[] = {\n"
            + lines([hex(code) for code, _ in found]) + "};\n"
            "static constexpr Category runCategories[] = {\n"
            + lines([category for _, category in found]) + "};\n"
            "static constexpr uint32_t hanEdges[] = {\n"
            + lines([hex(code) for code, _ in han[1:]]) + "};\n"
            f"// Characters of Unicode {NFC_VERSION}.\n"
            "static constexpr uint32_t nfcEdges[] = {\n"
            + lines(nfc_edges()) + "};\n")
    path = pathlib.Path(__file__).parent / "UnicodeData.inc"
    path.write_text(text)


if __name__ == "__main__":
    main()
