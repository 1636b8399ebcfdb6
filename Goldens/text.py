"""Writes text.json, the goldens of SwanText, and the entity table of SwanText.

    python -m venv venv
    venv/bin/pip install ftfy==6.3.1 regex==2024.11.6 sentencepiece==0.2.0 \
        transformers==4.51.3 protobuf==5.29.4
    venv/bin/python text.py                 # text.json beside this file
    venv/bin/python text.py --entities FILE # HTMLEntityTable.swift
    venv/bin/python text.py --tokenizer     # text_tokenizer.json, from the model in text.json

Cleaning is that of Wan 2.1's wan/modules/tokenizers.py: ftfy, html.unescape twice, whitespace.
Tokens are those of transformers' T5TokenizerFast over a small SentencePiece model trained here.
If two segmentations of a text are equally likely, such as "..." into ".." and ".", that tokenizer may
choose another one than SentencePiece; such texts are excluded.
"""

import argparse
import base64
import contextlib
import html
import html.entities
import io
import json
import pathlib
import random
import tempfile

HERE = pathlib.Path(__file__).parent
SEED = 20240611
PAGES = {
    "windows1250": "sloppy-windows-1250",
    "windows1251": "sloppy-windows-1251",
    "windows1252": "sloppy-windows-1252",
    "windows1253": "sloppy-windows-1253",
    "windows1254": "sloppy-windows-1254",
    "windows1257": "sloppy-windows-1257",
    "iso8859Part2": "iso-8859-2",
    "macRoman": "macroman",
    "dos437": "cp437",
    "latin1": "latin-1",
}

SENTENCES = [
    "A watercolour painting of a fox in the snow, soft light, muted colours.",
    "l'été à la mer, c'était déjà Noël où l'on naît près du Rhône",
    "Größe, Übermut und Straßenfeste — schöne Grüße aus Köln!",
    "żółć gęślą jaźń, zażółć, Łódź nad wodą",
    "příliš žluťoučký kůň úpěl ďábelské ódy",
    "Привет, мир! Съешь ещё этих мягких французских булок",
    "Καλημέρα κόσμε, ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "İstanbul'da güneşli bir gün, ığdır çayı şöyle",
    "Ķekava, Rīga, ģērbonis, ļoti, ūdens, ČETRI",
    "“curly” and ‘single’ quotes… and — dashes – too; it’s",
    "price: 20 € or £15, 30 °C, ½ cup, 3 × 4 ÷ 2 ± 1",
    "一只在雪地里奔跑的狐狸，水彩画风格。",
    "日本語のテキスト、カタカナとひらがな",
    "한국어 문장입니다, 눈 속의 여우",
    "مرحبا بالعالم، كيف حالك",
    "नमस्ते दुनिया",
    "emoji 🦊❄️🎨 family 👩‍👩‍👧 flag 🏴󠁧󠁢󠁷󠁬󠁳󠁿",
    "El niño comió piñas en São Paulo, ¿verdad? ¡Sí!",
    "às vezes, àquele, àquela e àquilo; voilà le travail",
]

FIXED = [
    "", " ", "\t\n ", "\u200b", "plain", "  two   words \n and\ta tab  ",
    "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\x1ch\x1fi\x0bj\x0ck\rl\r\nm",
    "ＬＯＵＤ　ＮＯＩＳＥＳ", "Ｕﾀｰﾝ ｶﾞｷﾞ ﾡﾢ￡￦￨", "ﬁﬂﬀﬃﬄﬅﬆ ĳĲŉ ǅǆǇǌ",
    "e\u0301 n\u0303 \u1112\u1161\u11ab \u2126 \u212b \u0344 a\u0323\u0307 \u0958",
    "\x1b[36;44mblue\x1b[0m \x1b[1;31m \x1b[x \x1b[\u0661m\x1b[12", "\x00\x01\x08nul\x7f\ufeff\ufffc",
    "\u206a\u200c\u200d\u200e\u202a", "✔ No problems ✔", "This â€œshouldâ€\x9d workâ€¦",
    "âœ” No problems", "â€œ like this â€\ufffd", "voilÃ le travail", "Ã la mode", "Ã quele",
    "fÃ cil Ã s vezes", "LigaÃ§Ã£o", "sÃ³", "schÃ¶n", "Ãƒâ€šÃ‚Â£", "Ã‚Â©", "Â© 2024", "Â", "Ã", "Å",
    "l’humanitÃ©", "The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.",
    "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "РџСЂРёРІРµС‚", "Îš Î±Î»Î·Î¼Î­ÏÎ±", "à¤¨à¤®à¤¸à¥à¤¤à¥‡", "ðŸ¦Š fox", "ðŸ\x98\x8a", "ã\x81‚",
    "√©l√®ve", "‚Äúquotes‚Äù", "t├⌐st", "β€™", "ā€œ", "ГўВЂВ™s", "вЂ™", "Œ.", "œ!", "œa",
    "A°", "À°", "Ã° ", "a Ã b", "a.Â b", "5 Â°C", "\x80uro \x93hi\x94", "\x85", "\x81\x8d\x8f\x90\x9d",
    "abc\x1a", "ñ\x1aÃ©", "\ufffd\ufffd", "Ã\ufffd", "â\ufffd\ufffd", "Ã?", "Â?Ã©", "í¡½í²©", "í\xa0½í²© Ã©",
    "í\xa0½í²\xa0\n", "Ã© À\n", "Ã© À\x80", "Ã© À\n\nx", "í\xa0½í²\n", "\xed\xa0\xbd\xed\xb2\n Ã©",
    "caf\u00c3\u00a9 \u00ed\u00a0\u0080 x", "Ã©" * 40, "Ã\x83Â©", "é" + "Ã©",
    "ØªØ³Øª", "×™×¢", "Ù…Ø±Ø", "¡¿«»", "¬¦¨", "£££ §§ ¶", "(ó_ò) ಠ_ಠ ¯\\_(ツ)_/¯ (╯°□°)╯︵ ┻━┻",
    "├── src", "║ box ═", "Ø½", "Ñ½", "3½«", "a¼½", "x²«", "€«", "é«x", "é»«", "é®a", "É® ",
    "&amp;", "&AMP", "&amp;amp;amp;amp;lt;b&gt;", "&lt;tag&gt;", "<b>&amp;</b> &eacute;",
    "a < b\nc &amp; d", "c &amp; d\na < b\n&eacute;&amp;lt;", "&EACUTE;&eacute;&Eacute &eacute",
    "P&EACUTE;REZ &NTILDE; &nTILDE; &SZLIG; &FRAC12; &LTDOT; &HELLIP;", "&notit; &notin; &not; &no",
    "&#38; &#x26; &#X26 &#38amp; &#65;&#65 &#0; &#xD800; &#x110000; &#99999999999999999999;",
    "&#128; &#x80 &#129; &#13; &#x0b; &#xFFFE; &#x1FFFF; &#127; &#160; &#59; &#x3b; &#65;;",
    "&; &&amp; &#; &#x; &#xg; &#g; &a &ab; &quot;&apos;&nbsp;x", "&CounterClockwiseContourIntegral;",
    "&NotEqualTilde; &acE; &fjlig; &ThickSpace;x &zwj; &bne;", "&amp&amp;&ampamp;&copycopy &copy;&COPY",
    "&lt\u0338; &lt;\u0338 =\u0338", "&Atilde;&copy; &amp;Atilde;&copy;", "&aacute &AACUTE &frac14x",
    "&#195;&#169; &Acirc;&pound;", "&#x1F98A; &#129418;", "&euro;20 &pound;15 &#8364;",
    "&thinsp;&emsp;x&ensp;y&#x3000;z", "&longname" + "x" * 40 + ";", "&" + "a" * 24 + ";",
    "&" + "a" * 25 + ";", "&#" + "1" * 24 + ";", "&#" + "1" * 25 + ";", "&#" + "0" * 23 + "65;",
    "‘’‚‛“”„‟ʼ", "«»‹›", "\u0130\u0131 ß ẞ", "a\u0300\u0315\u0300b", "ſt Ωµ",
    "<pad> </s> <unk> <extra_id_0> <s> [INST]", "a</s>b", "</s>", "x <pad>y", "<unk><unk>",
    "🦊🦊🦊", "👩‍👩‍👧‍👦 🏳️‍🌈", "中文，标点。「引号」", "\U000e0067\U000e007f",
]

CONTROLS = list("\x00\x1a\x1b\x80\x85\x93\x9d\xa0\xad\ufeff\ufffd\u2028\u200b\u3000 \n\r\t&;#<?°½€£²«»œŒÂÃâÐÑØÙÎà×в√")


def mojibake(text, rng):
    """Text decoded with one or two wrong code pages, sometimes damaged in between."""
    import ftfy  # registers the sloppy code pages

    del ftfy
    for _ in range(rng.choice([1, 1, 1, 2])):
        page = rng.choice(list(PAGES.values()))
        raw = text.encode("utf-8")
        if rng.random() < 0.25:
            raw = raw.replace(b"\xa0", b" ")
        strict = page.replace("sloppy-", "")
        if rng.random() < 0.2:
            text = raw.decode(strict, errors="replace")
        else:
            text = raw.decode(page)
    return text


def mutate(text, rng):
    """One to four random edits."""
    text = list(text)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            text.insert(place, rng.choice(CONTROLS))
        elif kind == 1 and text:
            del text[place % len(text)]
        elif kind == 2:
            text.insert(place, chr(rng.randrange(0x80, 0x180)))
        elif kind == 3 and text:
            text[place % len(text)] = rng.choice(CONTROLS)
        else:
            name = rng.choice(list(html.entities.html5))
            text[place:place] = "&" + rng.choice([name, name.upper(), name.lower(), name[:-1]])
    return "".join(text)


def inputs(rng, count):
    """The fixed strings, then `count` random ones."""
    texts = list(FIXED)
    while len(texts) < len(FIXED) + count:
        text = rng.choice(SENTENCES)
        start = rng.randrange(len(text))
        text = text[start : start + rng.randint(3, 30)]
        if rng.random() < 0.8:
            text = mojibake(text, rng)
        if rng.random() < 0.3:
            text = rng.choice(SENTENCES)[:10] + " " + text
        if rng.random() < 0.6:
            text = mutate(text, rng)
        if rng.random() < 0.1:
            text = "".join(rng.choice(CONTROLS) for _ in range(rng.randint(2, 12)))
        # Some Python strings have no UTF-8 encoding; Swift has no such strings.
        if not any(0xD800 <= ord(c) < 0xE000 for c in text):
            texts.append(text)
    return list(dict.fromkeys(texts))


def clean(text):
    import ftfy
    import regex

    text = ftfy.fix_text(text)
    text = html.unescape(html.unescape(text)).strip()
    return regex.sub(r"\s+", " ", text).strip()


def small_model():
    """A model with T5's layout, byte fallback, and a few normalization rules."""
    import sentencepiece

    rules = ["FF01\t21", "FB01\t66 69", "2026\t2E 2E 2E", "BD\t31 2044 32", "3000\t20", "A0\t20"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # A relative path, because the model stores it.
        pathlib.Path("rules.tsv").write_text("\n".join(rules) + "\n")
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES[:11] * 3), model_writer=model,
            model_type="unigram", vocab_size=640, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
            byte_fallback=True, character_coverage=0.98, hard_vocab_limit=False, num_threads=1,
            minloglevel=2, normalization_rule_tsv="rules.tsv")
    return model.getvalue()


def tokens(model, texts):
    import sentencepiece
    from transformers import T5TokenizerFast

    marks = {"<pad>", "</s>", "<unk>"}
    library = sentencepiece.SentencePieceProcessor(model_proto=model)

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "spiece.model"
        path.write_bytes(model)
        tokenizer = T5TokenizerFast(str(path), extra_ids=0, add_prefix_space=True)
        cases = []
        for text in texts:
            cleaned = clean(text)
            pieces = tokenizer(cleaned).input_ids[:-1]
            if not any(mark in cleaned for mark in marks):
                expected, in_bytes = [], False
                for piece in library.encode(cleaned):
                    # This tokenizer uses one unknown token for a run of bytes.
                    unknown = library.is_byte(piece)
                    if not (unknown and in_bytes):
                        expected.append(2 if unknown else piece)
                    in_bytes = unknown
                if pieces != expected:
                    assert sorted(pieces) == sorted(expected), text
                    continue
            for limit in (32, 8):
                ids = tokenizer(
                    [cleaned], padding="max_length", truncation=True, max_length=limit)
                cases.append({
                    "text": text, "limit": limit, "ids": ids.input_ids[0],
                    "count": sum(ids.attention_mask[0])})
        return cases


def fast_tokenizer(model):
    """The tokenizer.json that transformers creates from a SentencePiece model."""
    from transformers import T5TokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "spiece.model"
        path.write_bytes(model)
        tokenizer = T5TokenizerFast(str(path), extra_ids=0, add_prefix_space=True)
        return tokenizer.backend_tokenizer.to_str()


def entity_table():
    """HTML 5's entities as name=code+code, or name~code if the semicolon is optional."""
    named = html.entities.html5
    words = []
    for name in sorted(n for n in named if n.endswith(";")):
        codes = "+".join(f"{ord(c):X}" for c in named[name])
        short = name[:-1]
        assert short not in named or named[short] == named[name]
        words.append(f"{short}{'~' if short in named else '='}{codes}")
    assert all(f"{name};" in named for name in named if not name.endswith(";"))
    lines, line = [], ""
    for word in words:
        if len(line) + 1 + len(word) > 96:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    lines.append(line)
    body = "\n".join("    " + line for line in lines)
    return (
        "// Written by Goldens/text.py --entities; not for editing.\n\n"
        "/// The named character references of HTML 5: `name=code+code` in hexadecimal, with `~` for\n"
        "/// `=` where the semicolon at the end may be missing.\n"
        f'let htmlEntityTable = """\n{body}\n    """\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=pathlib.Path)
    parser.add_argument("--tokenizer", action="store_true")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "text.json")
    arguments = parser.parse_args()
    if arguments.entities:
        arguments.entities.write_text(entity_table())
        return
    if arguments.tokenizer:
        model = base64.b64decode(json.loads((HERE / "text.json").read_text())["model"])
        (HERE / "text_tokenizer.json").write_text(fast_tokenizer(model) + "\n")
        return
    rng = random.Random(arguments.seed)
    texts = inputs(rng, arguments.count)
    model = small_model()
    sample = [text for text in texts if len(text) > 4][::6] + SENTENCES + FIXED[-14:]
    import ftfy  # registers the sloppy code pages

    goldens = {
        "versions": {"ftfy": ftfy.__version__, "sentencepiece": "0.2.0", "transformers": "4.51.3"},
        "seed": arguments.seed,
        "pages": {
            name: [ord(c) for c in bytes(range(256)).decode(page)] for name, page in PAGES.items()},
        "cleaning": [[text, clean(text)] for text in texts],
        "model": base64.b64encode(model).decode(),
        "tokens": tokens(model, sample),
    }
    arguments.output.write_text(
        json.dumps(goldens, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{arguments.output}: {len(texts)} texts, {len(goldens['tokens'])} prompts, "
          f"{arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
