"""Values that programs often handle wrong, and mutations of plain bytes, JSON and YAML."""
import json
import re

NUMBERS = [
    "-1", "0", "1", "2", "3", "7", "63", "65", "255", "4096", "100000", "2147483647", "2147483648",
    "4294967296", "4611686018427387904", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "1000000000000", "1e12", "1e308", "1e400", "-1e308", "0.5", "-0.0", "1e-320",
]
WORDS = [
    "null", "true", "false", '""', '"NaN"', '"-1"', "[]", "{}", "[[]]", "[1, 2, 3]", '["a"]', '{"a": 1}',
    '"\\u001b[31mred\\u0007"', '"../../../etc/passwd"', '"/dev/zero"', '"' + "a" * 5000 + '"',
    '"x\\n  sound\\nswan: all is well"',
]
NAMES = [
    "", "a", "0", "-1", ".", "..", "\x1b[31mred", "a\nb", "\u0085\u009b31m", "weight", "model.", "blocks",
    "blocks.99999999999999999999.x", "blocks.-1.x", "blocks.9223372036854775807.ffn.0.weight", "k" * 3000,
    "k" * 300000, "x\n  sound\nswan: all is well", "../a", "a/../../b",
    "é", "e\u0301", "\u202egnp.exe", "__metadata__", "scaled_fp8", "spiece_model",
]


# ---- Bytes ----

def change_bytes(data, random):
    """Flips, removes, inserts, repeats, splices or clears bytes, up to four times."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        if not data:
            return bytes(data)
        at = random.randrange(len(data))
        length = min(len(data) - at, random.choice([1, 2, 4, 8, 16, 64, 512]))
        other = random.randrange(len(data))
        kind = random.randrange(8)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at:at + length]
        elif kind == 4:
            data[at:at] = bytes(random.randrange(256) for _ in range(length))
        elif kind == 5:
            data[at:at] = data[other:other + length] * random.choice([1, 2, 100])
        elif kind == 6:
            data[at:at + length] = data[other:other + length]
        else:
            data[at:at + length] = bytes([random.choice([0, 0xFF])]) * length
    return bytes(data)


# ---- JSON ----

class Pairs(list):
    """An object as a list of keys and values, so that it can contain a key twice."""


class Raw(str):
    """Text that is written unchanged."""


def read_json(text):
    return json.loads(text, object_pairs_hook=Pairs)


def write_json(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{write_json(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write_json(item) for item in value) + "]"
    return json.dumps(value)


def places(value, found=None):
    """Every list and object in a value."""
    found = [] if found is None else found
    if isinstance(value, list):
        if value:
            found.append(value)
        for item in value:
            places(item[1] if isinstance(value, Pairs) else item, found)
    return found


def change_json_value(value, random):
    """Changes one value or one member."""
    where = places(value)
    if not where:
        return Raw(random.choice(NUMBERS + WORDS))
    place = random.choice(where)
    index = random.randrange(len(place))
    hostile = Raw(random.choice(NUMBERS + WORDS + ["NaN", "Infinity", "[" * 600 + "]" * 600]))
    if not isinstance(place, Pairs):
        kind = random.randrange(5)
        if kind == 0:
            del place[index]
        elif kind == 1:
            place.insert(index, place[index])
        elif kind == 2:
            place[index:] = [place[index]] * random.choice([0, 2, 1000])
        else:
            place[index] = hostile
        return value
    key, old = place[index]
    kind = random.randrange(8)
    if kind == 0:
        del place[index]
    elif kind == 1:
        place.append((key, hostile))
    elif kind == 2:
        place[index] = (random.choice(NAMES), old)
    elif kind == 3:
        place[index] = (re.sub(r"\d+", random.choice(NUMBERS), key), old)
    elif kind == 4:
        place.append((random.choice(NAMES), hostile))
    else:
        place[index] = (key, hostile)
    return value


def change_json(data, random):
    try:
        value = read_json(data)
    except ValueError:
        return change_bytes(data, random)
    for _ in range(random.choice([1, 1, 2])):
        value = change_json_value(value, random)
    return write_json(value).encode()


# ---- YAML ----

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{before}, *{before}, *{before}, *{before}]\n"
    for before, after in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz")
)
YAML_BLOCKS = [
    LAUGHS, "? [a, [b]]\n: 1\n", "- " * 2000 + "a\n", "x: " + "[" * 5000 + "\n", "? " * 300 + "a\n",
    "k: &k [1]\n? *k\n: 2\n", "k: &k\n  <<: *k\n", "t: !!binary aGk=\n", "t: !!set {a, b}\n", "--- a\n--- b\n",
    "x: 1:1:1:1:1:1:1:1:1:1:1:1:1\n", "x: \"\\e[31m\"\n", "\x1b[31mkey: 1\n", "%TAG ! !\n", "\t- a\n",
]
YAML_WORDS = [".nan", ".inf", "-.inf", "~", "1:1:1:1:1:1:1:1:1:1:1:1", "0x7fffffffffffffff", "0b1", "1_000", "*x",
              "&x", "!!int a", "|", "'", '"', "[", "{", "@", "%", "- -", "? a", "2001-12-14t21:59:43.10-05:00"]


def change_yaml(data, random):
    """Changes the values, keys or order of lines."""
    lines = data.decode(errors="replace").split("\n")
    for _ in range(random.choice([1, 1, 2])):
        at = random.randrange(len(lines))
        kind = random.randrange(9)
        if kind == 0:
            del lines[at:at + 1]
            lines = lines or [""]
        elif kind == 1:
            lines.insert(random.randrange(len(lines)), lines[at])
        elif kind == 2:
            lines[at] = " " * random.randrange(4) + lines[at]
        elif kind == 3:
            lines.insert(at, random.choice(YAML_BLOCKS))
        elif kind == 4:
            lines[at] = re.sub(r"[A-Za-z_]+(?=:)", lambda _: random.choice(NAMES), lines[at], count=1)
        else:
            numbered = [index for index, line in enumerate(lines) if re.search(r"\d|: ", line)]
            at = random.choice(numbered or [at])
            value = random.choice(NUMBERS + NUMBERS + WORDS + YAML_WORDS)
            spots = list(re.finditer(r"-?\d[\d.e+-]*|(?<=: )[^,}\]]+", lines[at]))
            if spots:
                spot = random.choice(spots)
                lines[at] = lines[at][:spot.start()] + value + lines[at][spot.end():]
    return "\n".join(lines).encode()
