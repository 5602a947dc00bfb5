#!/usr/bin/env python3
"""Trains the nano model's byte-level BPE and writes the tokenizer files.

Same shape as the published MiniMax-M2 tokenizer: a Split on a regular expression
of the GPT-4o kind, then ByteLevel; special tokens after the ordinary vocabulary.

usage: make_tokenizer.py OUT_DIR... [--vocab 768] [--cases FILE]
"""

import argparse
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import make_text

SPLIT = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
])
SPECIAL = [make_text.ROLE, make_text.EOS, make_text.BOS, "<fim_pad>"]

CHAT_TEMPLATE = (
    "{{ ']~!b[' }}{% for m in messages %}"
    "{{ ']~b]' + ('ai' if m['role'] == 'assistant' else m['role']) + '\\n' "
    "+ m['content'] + '[e~[\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ ']~b]ai\\n' }}{% endif %}")

# Encodings that a reader of tokenizer.json must reproduce.
CASES = [
    "", " ", "  ", "\n", " \n \n", "a", "Hello world", "hello  world ",
    "One day Mia the baker wanted to", "It's Tom's. I'LL go; they'Re here",
    "12345 + 678 = 13023", "3 + 4 = 7\n5 - 2 = 3\n", "\t\ttabs\tand\r\nlines\r\n\r\n",
    "na\u00efve caf\u00e9 \u00fcber", "\u4f60\u597d\uff0c\u4e16\u754c", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
    "\u0441\u043b\u043e\u0432\u043e \u0394\u03b5\u03bb\u03c4\u03b1", "e\u0301 combining", "\u00a0nbsp\u3000wide", "...!!!//\n---",
    "]~!b[]~b]user\nWhat is 3 + 4?[e~[\n]~b]ai\n", "x[e~[y [e~[ z", "[e~", "<fim_pad>",
    "McDonald HTTPServer fooBAR", "\u01c5ungla \u02b0h", "v1.2.3-rc4", "  lead", "trail  ", "a\x00b",
]


def train(vocab, docs):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(SPECIAL), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))

    def plain():
        for text in make_text.documents(docs, seed=1):
            for special in SPECIAL:
                text = text.replace(special, "\n")
            yield text

    tokenizer.train_from_iterator(plain(), trainer)
    tokenizer.add_special_tokens(SPECIAL)
    assert tokenizer.get_vocab_size() == vocab
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="+", type=pathlib.Path)
    parser.add_argument("--vocab", type=int, default=768)
    parser.add_argument("--docs", type=int, default=20000)
    parser.add_argument("--cases", type=pathlib.Path)
    args = parser.parse_args()
    tokenizer = train(args.vocab, args.docs)
    for out in args.out:
        out.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(out / "tokenizer.json"))
        (out / "tokenizer_config.json").write_text(json.dumps({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False, "clean_up_tokenization_spaces": False,
            "bos_token": make_text.BOS, "eos_token": make_text.EOS,
            "model_max_length": 512, "chat_template": CHAT_TEMPLATE,
        }, indent=2) + "\n")
    if args.cases:
        rows = []
        for text in CASES:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(
                ids, skip_special_tokens=False)})
        args.cases.write_text(json.dumps(rows, indent=0) + "\n")


if __name__ == "__main__":
    main()
