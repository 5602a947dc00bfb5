#!/usr/bin/env python3
"""Makes the golden files of the tokenizer tests with Hugging Face tokenizers.

    make_goldens.py        (in this folder; needs tokenizers 0.23)

Writes goldens/NAME.json: {"tokenizer": tokenizer.json, "cases": [{"text", "ids", "decoded", "decoded_all"}]},
where `ids` are with special tokens and `decoded` skips them. Small on purpose: a few hundred tokens each.
"""

import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog doesn't mind; it's sleeping, isn't it?",
    "In 2024, 1234567 people said 3.14159 is about pi, and 100 % of them were right!",
    "def f(x):\n    return x  +  1\n\n\nclass A:\n\tpass\n",
    "Grüße aus Köln, naïve café, Ελληνικά, русский текст, 日本語のテキスト, 한국어, हिन्दी, ไทย, עברית.",
    "emoji 😀👍🏽👩‍👩‍👧 and flags 🇩🇪",
] * 3

GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")

TEXTS = [
    "", " ", "   ", "\n", " \n \n", "a", "Hello, world!", "The lazy dog doesn't mind; IT'S sleeping.",
    "  leading and trailing  ", "tabs\tand\r\nlines\n\n\n  indented", "x=1234567890+3.14", "12345678901234567890",
    "Grüße naïve café", "e\u0301 decomposed \u00e9 composed \u1e9b\u0323", "日本語のテキスト 한국어", "हिन्दी ไทย עברית",
    "😀👍🏽👩\u200d👩\u200d👧🇩🇪", "zero\u200bwidth\u00a0nbsp\u3000wide", "\u0000\u0001\x7f control", "ＦＵＬＬ ｗｉｄｔｈ ½ Ⅷ ²",
    "'s 'T 'll'VE ''", "<|end|>", "before <|end|> after<|end|><|start|>", "<|end", "a  <|strip|>  b", "a\u00a0<|strip|>\nb",
    "plain word added plainword", "<|start|>system\n<|end|>", "\U0010ffff \ufffd", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "don't you're we'll I'd they've I'm", "...!!!???---", "\u2028line\u2029para\u0085next", "ſ'ſ 'S", "İıΣςσ",
]

FOLDER = pathlib.Path(__file__).parent / "goldens"


def trained(pre_tokenizer, normalizer=None, size=400, alphabet=True):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    initial = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=size, initial_alphabet=initial, show_progress=False))
    return tokenizer


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(pattern, behavior, invert),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def special(tokenizer):
    tokenizer.add_special_tokens([
        AddedToken("<|start|>", special=True), AddedToken("<|end|>", special=True), AddedToken("<|end", special=True)])
    tokenizer.add_tokens([AddedToken("<|strip|>", lstrip=True, rstrip=True, normalized=False),
                          AddedToken("plainword", normalized=True), AddedToken("decomposed", normalized=True)])
    return tokenizer


def edited(tokenizer, edit):
    """The tokenizer after a change of its JSON."""
    data = json.loads(tokenizer.to_str())
    edit(data)
    return Tokenizer.from_str(json.dumps(data))


def ignore_merges(data):
    data["model"]["ignore_merges"] = True
    # A word that no merge makes.
    data["model"]["vocab"]["\u0120dog"] = data["model"]["vocab"].get("\u0120dog", len(data["model"]["vocab"]))
    data["model"]["merges"] = [m for m in data["model"]["merges"] if "".join(m) != "\u0120dog"]


def string_merges(data):
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]


def templated():
    tokenizer = special(trained(split(Regex(GPT4))))
    start, end = tokenizer.token_to_id("<|start|>"), tokenizer.token_to_id("<|end|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", start), ("<|end|>", end)])
    return tokenizer


def main():
    tokenizers = {
        "gpt4_split": special(trained(split(Regex(GPT4)))),
        "byte_level": special(trained(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))),
        "prefix_space": trained(pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)),
        "nfc": special(trained(split(Regex(GPT4)), normalizers.NFC())),
        "nfc_sequence": trained(split(Regex(GPT4)), normalizers.Sequence([normalizers.NFC()]), 300),
        "ignore_merges": edited(trained(split(Regex(GPT4))), ignore_merges),
        "string_merges": edited(trained(split(Regex(GPT4))), string_merges),
        "template": templated(),
        "removed": trained(split(Regex(r"\s+"), "removed"), size=300),
        "merged_with_previous": trained(split(Regex(r"\s"), "merged_with_previous"), size=300),
        "merged_with_next": trained(split(Regex(r"\s"), "merged_with_next"), size=300),
        "contiguous": trained(split(Regex(r"\p{P}"), "contiguous"), size=300),
        "inverted": trained(split(Regex(r"[^\s\d]+"), "removed", invert=True), size=300),
        "literal": trained(split("e.", "isolated"), size=300),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, tokenizer in tokenizers.items():
        data = json.loads(tokenizer.to_str())
        if name == "string_merges":
            string_merges(data)
        cases = []
        for text in TEXTS:
            ids = tokenizer.encode(text).ids
            cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids),
                          "decoded_all": tokenizer.decode(ids, skip_special_tokens=False)})
        # Any ids, also ones that cut characters in two.
        for start in range(0, 60, 7):
            ids = [(start * 37 + i * i * 13) % tokenizer.get_vocab_size() for i in range(12)]
            cases.append({"ids": ids, "decoded": tokenizer.decode(ids),
                          "decoded_all": tokenizer.decode(ids, skip_special_tokens=False)})
        out = {"tokenizer": data, "cases": cases}
        (FOLDER / f"{name}.json").write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
