"""Writes added_tokens.json: ids of prompts with marks that a tokenizer's files add to its model.

    venv/bin/pip install -r requirements.txt sentencepiece protobuf
    venv/bin/python added_tokens.py

The model is that of text.json, with the tokenizer.json made from it (text_tokenizer.json). Each
variant has other files beside spiece.model; ids are those of transformers' AutoTokenizer, without
the end token. Words that SentencePiece and tokenizers split differently, since two ways are equally
likely, are left out.
"""

import base64
import importlib.metadata
import json
import pathlib
import random
import tempfile

import sentencepiece
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
SEED = 20261130
WORDS = (
    "fox snow soft light muted colours mer Noël schöne Grüße miasto мир ещё price cup quotes niño "
    "ﬁne wow！ half½ 一只 a b the x"
).split()


def token(content, special=False, **flags):
    """An added token as tokenizer.json has it, without its id."""
    base = dict(single_word=False, lstrip=False, rstrip=False, normalized=not special)
    return {"content": content, **base, **flags, "special": special}


def numbered(tokens, first=461):
    """The same with ids after the vocabulary."""
    return [{"id": first + index, **entry} for index, entry in enumerate(tokens)]


MARKS = [token("<pad>", True), token("</s>", True), token("<unk>", True)]
OWN = [{"id": index, **mark} for index, mark in enumerate(MARKS)]
EXTRA = [token(f"<extra_id_{index}>", True) for index in range(4)]
FLAGS = [
    token("<left>", True, lstrip=True), token("<right>", True, rstrip=True),
    token("<both>", normalized=False, lstrip=True, rstrip=True),
    token("WORD", normalized=False, single_word=True), token("WORDS", normalized=False),
    token("look", single_word=True), token("ﬁlm"), token("[style]", lstrip=True, normalized=True),
    token("snow day"), token("<left><right>", True),
]


def decoder(tokens):
    """The same as in tokenizer_config.json."""
    return {str(entry["id"]): {k: v for k, v in entry.items() if k != "id"} for entry in tokens}


def variants():
    """Names, the added tokens of tokenizer.json, and the other files."""
    many = numbered(EXTRA + FLAGS)
    yield "plain", OWN, {}
    yield "tokenizer.json", OWN + many, {}
    yield "tokenizer_config.json", OWN, {
        "tokenizer_config.json": {
            "tokenizer_class": "T5Tokenizer", "extra_ids": 0,
            "added_tokens_decoder": decoder(OWN + many)},
    }
    yield "other ids", OWN, {
        "tokenizer_config.json": {"added_tokens_decoder": decoder(numbered(EXTRA, 900))},
    }
    yield "other flags", OWN + many, {
        "tokenizer_config.json": {
            "added_tokens_decoder": decoder(
                numbered([token("<extra_id_0>", True, lstrip=True, rstrip=True)]))},
    }
    yield "special_tokens_map.json", OWN, {
        "special_tokens_map.json": {
            "eos_token": "</s>",
            "pad_token": {k: v for k, v in MARKS[0].items() if k != "special"},
            "additional_special_tokens": ["<extra_id_0>", "<extra_id_1>"], "sep_token": "<sep>"},
    }
    yield "added_tokens.json", OWN, {
        "added_tokens.json": {"look": 462, "<extra_id_0>": 461, "fox": 463},
        "special_tokens_map.json": {"additional_special_tokens": ["<extra_id_0>"]},
    }
    yield "extra special tokens", OWN, {
        "tokenizer_config.json": {
            "additional_special_tokens": ["<extra_id_2>", "<sep>"], "mask_token": "<mask>",
            "eos_token": "</s>"},
    }
    yield "a piece", OWN, {
        "tokenizer_config.json": {
            "added_tokens_decoder": decoder(numbered([token("fox", normalized=False)], 77))},
    }


def texts(rng, words):
    """Prompts of words and marks."""
    marks = [entry["content"] for entry in EXTRA + FLAGS] + [
        "<sep>", "<mask>", "<unk>", "</s>", "<pad>", "film", "looks", "WORDy", "<extra_id_9>"]
    found = ["", "<extra_id_0>", "a<extra_id_0>b", "  look  ", "WORD WORDS aWORD WORD.", "ﬁlm film"]
    while len(found) < 70:
        parts = [
            rng.choice(marks) if rng.random() < 0.4 else rng.choice(words)
            for _ in range(rng.randint(1, 7))]
        gaps = [rng.choice([" ", " ", "", "  ", "\u00a0", " , "]) for _ in parts]
        found.append("".join(part + gap for part, gap in zip(parts, gaps)))
    return found


def main():
    model = base64.b64decode(json.loads((HERE / "text.json").read_text())["model"])
    base = json.loads((HERE / "text_tokenizer.json").read_text())
    library = sentencepiece.SentencePieceProcessor(model_proto=model)
    rng = random.Random(SEED)
    cases, words, plain = [], [], None
    for name, added, files in variants():
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "config.json").write_text('{"model_type": "umt5"}')
            (path / "spiece.model").write_bytes(model)
            (path / "tokenizer.json").write_text(json.dumps({**base, "added_tokens": added}))
            for file, content in files.items():
                (path / file).write_text(json.dumps(content))
            tokenizer = AutoTokenizer.from_pretrained(folder)
        if plain is None:
            plain = tokenizer
            for word in WORDS:
                ids = [2 if library.is_byte(i) else i for i in library.encode(word)]
                runs = [i for n, i in enumerate(ids) if i != 2 or ids[n - 1:n] != [2]]
                if tokenizer(word).input_ids[:-1] == runs:
                    words.append(word)
            assert len(words) > 12, words
        prompts = [(text, tokenizer(text).input_ids[:-1]) for text in texts(rng, words)]
        cases.append({"name": name, "added": added, "files": files, "prompts": prompts})
        changed = sum(plain(text).input_ids[:-1] != ids for text, ids in prompts)
        print(f"{name}: {len(prompts)} prompts, {changed} with added marks")
    versions = {name: importlib.metadata.version(name) for name in ("transformers", "tokenizers")}
    goldens = {"versions": versions, "seed": SEED, "variants": cases}
    (HERE / "added_tokens.json").write_text(
        json.dumps(goldens, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
