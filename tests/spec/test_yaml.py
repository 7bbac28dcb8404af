"""Reading YAML: what scalars mean, where things stand, what is refused, and what --set does."""

import contextlib
import gc
import math
import os
import random
import threading
import time
from pathlib import Path

import nettrain
import pytest
from nettrain.net.netspec import load
from nettrain.net.spec_file import read_file
from nettrain.spec import reading as spec
from nettrain.spec.errors import NettrainError, SpecError, printable
from nettrain.spec.reading import read_text, scalar


def read(text):
    """The plain data of a YAML text."""
    return read_text(text, "a.yaml").to_python()


def errors(text):
    """``line:column: message`` of each problem of a YAML text."""
    with pytest.raises(SpecError) as error:
        read_text(text, "a.yaml")
    return [f"{p.place.line}:{p.place.column}: {p.message}" for p in error.value.problems]


# Scalars, as YAML 1.2's core schema has them.

NUMBERS = [
    ("0", 0),
    ("12", 12),
    ("+12", 12),
    ("-12", -12),
    ("010", 10),
    ("-007", -7),
    ("0o10", 8),
    ("0x1F", 31),
    ("0xff", 255),
    ("9223372036854775808", 2**63),
    ("1e-3", 0.001),
    ("1E3", 1000.0),
    ("1e+3", 1000.0),
    ("5e-4", 0.0005),
    ("1.5", 1.5),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5e1", -5.0),
    ("1.0", 1.0),
    ("1e400", math.inf),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("+.INF", math.inf),
]
WORDS = [("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False)]
NOTHING = ["null", "Null", "NULL", "~", ""]
TEXTS = [
    *("on", "off", "yes", "no", "y", "n", "On", "YES", "tRUE", "nil", "none"),
    *("inf", "nan", ".Nan", "1e", "e5", "1.2.3", "--1", "+-1", "1_000", "0b11", "0o8", "0xg", "-0x1F", "0o"),
    *("2020-01-01", "12:30", "1:20:30", "=", "<<", "<=", "10%", "١٢", "1 2", "5x5", "-", "."),
]


@pytest.mark.parametrize(("text", "value"), [*NUMBERS, *WORDS])
def test_numbers_and_booleans(text, value):
    for got in (scalar(text), read(f"a: {text}\n")["a"], read(f"[{text}]\n")[0]):
        assert got == value
        assert type(got) is type(value)


@pytest.mark.parametrize("text", NOTHING)
def test_nothing(text):
    assert scalar(text) is None
    assert read(f"a: {text}\n") == {"a": None}


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text):
    assert math.isnan(read(f"a: {text}\n")["a"])


@pytest.mark.parametrize("text", TEXTS)
def test_everything_else_is_text(text):
    assert scalar(text) == text
    if text not in ("-", "=") and not text.startswith("<<"):
        assert read(f"a: {text}\n") == {"a": text}


@pytest.mark.parametrize("text", ["1", "1e-3", "true", "null", "~", "", ".inf", "0x1F"])
def test_what_is_quoted_is_text(text):
    assert read(f"a: '{text}'\n") == {"a": text}
    assert read(f'a: "{text}"\n') == {"a": text}
    assert read(f'a: !!str "{text}"\n') == {"a": text}


def test_block_texts_are_text():
    assert read("a: |\n  1\nb: >\n  1\n  2\n") == {"a": "1\n", "b": "1 2\n"}


def test_keys_are_text():
    assert read("1: a\ntrue: b\nnull: c\n1e3: d\n'quoted': e\n") == {
        "1": "a",
        "true": "b",
        "null": "c",
        "1e3": "d",
        "quoted": "e",
    }


def test_lists_and_mappings_in_both_styles():
    assert read("a: [1, {b: c}, [d]]\ne:\n  - f\n  - g: 1\n    h: 2\n") == {
        "a": [1, {"b": "c"}, ["d"]],
        "e": ["f", {"g": 1, "h": 2}],
    }


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000])
def test_a_number_of_thousands_of_digits_is_an_error(digits):
    (message,) = errors(f"a: {digits}\n")
    assert message.startswith("1:4: a number of 5,00")
    assert message.endswith("digits is too long")


@pytest.mark.parametrize("digits", ["9" * 400, "0x" + "f" * 5000])
def test_numbers_too_large_for_a_float_are_an_error_that_does_not_print_them(digits):
    with pytest.raises(SpecError) as error:
        nettrain.get_solver(f"name: {digits}\nsolver: {{base_lr: {digits}, max_iter: 1}}\nlayers: 3\n")
    messages = [problem.message for problem in error.value.problems]
    assert messages[0] == "spec.name must be a string, got a very long number"
    assert messages[1].startswith("solver.base_lr must be a number")
    assert messages[1].endswith("got a very long number")


# Places


def test_places_of_keys_and_values():
    root = read_text("solver:\n  base_lr: 0.1\nlayers:\n  - {name: ip1, top: [a, b]}\n  -   type: ReLU\n", "a.yaml")
    solver, layers = root.value["solver"], root.value["layers"]

    def at(place):
        return place.line, place.column

    assert at(root.keys["solver"]) == (1, 1)
    assert at(solver.place) == (2, 3)
    assert at(solver.keys["base_lr"]) == (2, 3)
    assert at(solver.value["base_lr"].place) == (2, 12)
    assert at(layers.value[0].place) == (4, 5)
    assert at(layers.value[0].keys["top"]) == (4, 17)
    assert at(layers.value[0].value["top"].value[1].place) == (4, 26)
    assert at(layers.value[1].value["type"].place) == (5, 13)
    assert solver.value["base_lr"].place.length == 3
    assert solver.value["base_lr"].place.text == "  base_lr: 0.1"
    assert str(root.keys["layers"]) == "a.yaml:3:1"


def test_the_place_of_a_missing_key_is_that_of_the_mapping():
    node = read_text("a:\n  b: 1\n", "a.yaml").value["a"]
    assert (node.at("b").line, node.at("b").column) == (2, 6)
    assert (node.at("c").line, node.at("c").column) == (2, 3)


def test_an_alias_has_the_place_of_what_it_repeats():
    root = read_text("a: &x 1\nb: [2, *x]\n", "a.yaml")
    assert root.value["b"].value[1].place.line == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_places_count_lines_of_any_system(end, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(end.join(["name: a", "layers:", "  - b", "  - c: d"]).encode())
    item = read_file(path).value["layers"].value[1]
    assert (item.keys["c"].line, item.keys["c"].column, item.keys["c"].text) == (4, 5, "  - c: d")


def test_places_after_other_alphabets_count_characters():
    root = read_text("{é: 漢字, 😀: 1}\n", "a.yaml")
    assert [(place.line, place.column) for place in root.keys.values()] == [(1, 2), (1, 9)]


def test_a_byte_order_mark_is_not_a_character(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: a\n")
    root = read_file(path)
    assert root.to_python() == {"name": "a"}
    assert (root.keys["name"].line, root.keys["name"].column) == (1, 1)


def test_the_caret_stands_below_the_value_even_in_a_very_long_line():
    text = "{" + ", ".join(f"key{i}: {i}" for i in range(300)) + ", key7: 1}\n"
    with pytest.raises(SpecError) as error:
        read_text(text, "a.yaml")
    message, line, carets, _ = str(error.value).split("\n")
    assert f":1:{text.rindex('key7') + 1}: the key `key7` is written twice" in message
    start = carets.index("^")
    assert line[start : start + carets.count("^")] == "key7"
    assert len(line) < 170


# Duplicate keys, merge keys, aliases


def test_a_duplicate_key_is_an_error_wherever_it_stands():
    text = "a: 1\nb: {c: 1, d: 2, c: 3}\nb: 2\ne:\n  - f: 1\n    'f': 1\n"
    assert errors(text) == [
        "2:17: the key `c` is written twice; first on line 2",
        "3:1: the key `b` is written twice; first on line 2",
        "6:5: the key `f` is written twice; first on line 5",
    ]


def test_keys_written_differently_may_still_be_the_same():
    assert errors("1: a\n'1': b\n") == ["2:1: the key `1` is written twice; first on line 1"]
    assert read("a: 1\nA: 2\n") == {"a": 1, "A": 2}


def test_merge_keys():
    text = (
        "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\none: {<<: *base, b: 5}\ntwo: {b: 6, <<: [*base, *more]}\n"
    )
    root = read(text)
    assert root["one"] == {"a": 1, "b": 5}
    assert root["two"] == {"a": 1, "b": 6, "c": 4}
    assert read(f"{text}three: {{<<: [*base, *more]}}\n")["three"] == {"a": 1, "b": 2, "c": 4}


def test_a_merged_key_keeps_its_place():
    root = read_text("base: &base\n  a: 1\none:\n  <<: *base\n", "a.yaml")
    assert root.value["one"].keys["a"].line == 2


def test_a_quoted_merge_key_is_a_key():
    assert read("'<<': 1\n") == {"<<": 1}


@pytest.mark.parametrize("value", ["3", "text", "[1]", "[{a: 1}, 3]"])
def test_only_mappings_can_be_merged(value):
    (message,) = errors(f"a: {{<<: {value}}}\n")
    assert "`<<` takes a mapping, got " in message


def test_aliases_repeat_values():
    assert read("a: &x [1, {b: 2}]\nc: *x\nd: *x\n") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": [1, {"b": 2}]}


def test_values_repeated_by_an_alias_are_not_changed_together():
    spec = load(
        "layers:\n"
        "- {name: data, type: Input, shape: [4, 3]}\n"
        "- {name: a, type: InnerProduct, bottom: data, num_output: 2, weight_filler: &f {type: gaussian, std: 1}}\n"
        "- {name: b, type: InnerProduct, bottom: data, num_output: 2, weight_filler: *f}\n",
        ["a.weight_filler.std=5"],
    )
    assert [layer.get("weight_filler", {}).get("std") for layer in spec.to_python()["layers"]] == [None, 5, 1]


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [*x]\n",
        "a: &x {b: *x}\n",
        "a: &x {<<: *x}\n",
        "a: &x {b: &y [*x, *y]}\n",
        "&x [*x, *x, *x, *x]\n",
        "a: &x {b: {<<: [*x, *x, *x]}}\n",
    ],
)
def test_an_alias_of_itself_is_a_quick_error(text):
    started = time.process_time()
    (message,) = errors(text)
    assert "an alias that contains itself?" in message
    assert time.process_time() - started < 10


def bomb(item, join):
    lines = [f"a: &a {item}"]
    lines += [f"{c}: &{c} {join(', '.join(['*' + p] * 9))}" for p, c in zip("abcdefghi", "bcdefghij", strict=True)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        bomb("[x, x, x, x, x, x, x, x, x]", "[{}]".format),
        bomb("{x: 1}", "{{<<: [{}]}}".format),
    ],
    ids=["lists", "merges"],
)
def test_an_alias_bomb_is_a_quick_error(text):
    started = time.process_time()
    (message,) = errors(text)
    assert "more than 60,000 values" in message
    assert time.process_time() - started < 2


@pytest.mark.parametrize("undefined", ["a: *x\n", "a: [1, *x]\n", "<<: *x\n"])
def test_an_unknown_alias_is_an_error(undefined):
    (message,) = errors(undefined)
    assert "undefined alias 'x'" in message


# Depth and size


@pytest.mark.parametrize("depth", [101, 150, 2000])
@pytest.mark.parametrize("style", ["lists", "mappings", "blocks"])
def test_deep_nesting_is_an_error(depth, style):
    text = {
        "lists": "a: " + "[" * depth + "]" * depth,
        "mappings": "a: " + "{b: " * depth + "1" + "}" * depth,
        "blocks": "- " * depth + "x",
    }[style]
    (message,) = errors(text + "\n")
    assert "deep" in message


def test_a_spec_may_be_nested_a_little():
    depth = 50
    value = read("[" * depth + "]" * depth + "\n")
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
def test_a_file_too_large_to_be_a_spec_is_refused_without_parsing_it(size, tmp_path):
    """At 30 kB a second, PyYAML would take a minute for the smaller one."""
    path = tmp_path / "a.yaml"
    path.write_bytes((b"# " + b"x" * 97 + b"\n") * (size // 100))
    started = time.process_time()
    with pytest.raises(SpecError) as error:
        read_file(path)
    assert "too large for a spec" in str(error.value)
    assert time.process_time() - started < 2


LARGE = 800_000
TOO_MANY = "more than 40,000 keys and values, too many for a spec"
LARGE_TEXTS = {
    "numbers": ("[\n" + "1," * (LARGE // 2) + "]", TOO_MANY),
    "mappings": ("[\n" + "{}," * (LARGE // 3) + "]", TOO_MANY),
    "items": ("layers:\n" + "- {}\n" * (LARGE // 5), TOO_MANY),
    "nested items": ("- - - - - - - -\n" * (LARGE // 16), TOO_MANY),
    "keys": ("".join(f"k{i}: 1\n" for i in range(LARGE // 12)), TOO_MANY),
    "keys without a word": ("a: 1\n" + "? [x]\n: 1\n" * (LARGE // 10), TOO_MANY),
    "anchors": ("".join(f"- &a{i} 1\n" for i in range(LARGE // 12)), TOO_MANY),
    "aliases": ("a: &a {}\nl: [" + "*a," * (LARGE // 3) + "]", TOO_MANY),
    "tags": ("- !x 1\n" * (LARGE // 7), TOO_MANY),
    "tabs": ("a: [" + "1\t," * (LARGE // 3) + "]", TOO_MANY),
    "many of a large one": ("a: &a [" + "1," * 18000 + "]\nl: [" + "*a," * 10_000 + "]", "more than 60,000 values"),
    "merges": ("a: &a {" + "".join(f"k{i}: 1," for i in range(15_000)) + "}\nb:\n" + "- {<<: *a}\n" * 90, "60,000"),
    "brackets": ("[" * LARGE, "nested too deeply"),
    "braces": ("{" * LARGE, "nested too deeply"),
    "dashes": ("- " * (LARGE // 2), "nested too deeply"),
    "indents": ("".join(" " * i + "a:\n" for i in range(1250)), "nested too deeply"),
    "blanks before a brace": ("a: [\nlayer" + " " * (LARGE // 8) + "x", "not valid YAML"),
    "digits": ("a: " + "1" * LARGE, "a number of 800,000 digits is too long"),
}


@pytest.mark.parametrize("kind", LARGE_TEXTS)
def test_a_text_of_too_many_values_is_an_error_in_no_time(kind):
    """Texts of 800 kB; PyYAML's Python takes 20 s for some."""
    text, words = LARGE_TEXTS[kind]
    gc.collect()
    gc.freeze()  # otherwise what other tests have left in this process is scanned again and again
    started = time.process_time()
    (message,) = errors(text)
    seconds = time.process_time() - started
    gc.unfreeze()
    assert seconds < 2  # it is 0.1 to 0.8 s
    assert words in message


def test_what_is_quoted_is_text_with_a_tag_that_says_nothing():
    assert read("a: ! '12'\nb: ! 12\nc: !!str 12\n") == {"a": "12", "b": 12, "c": "12"}


@pytest.mark.parametrize("reader", ["libyaml", "Python"])
def test_the_first_value_too_many_has_a_place(reader, monkeypatch):
    if reader == "Python":
        monkeypatch.setattr(spec, "_FastLoader", spec._Loader)
    (message,) = errors("[\n" + "1," * 50_000 + "]")
    assert message.startswith("2:79999: more than 40,000 keys and values"), message[:50]


CONFIGS = [
    path.read_text(encoding="utf-8")[:900]
    for path in sorted((Path(nettrain.__file__).parent / "configs").rglob("*.yaml"))
]
PIECES = """- |a: |b|{|}|[|]|, |,|: |:|? |>|-1|# c| #|&a |*a|!t |!!str |--- |%|@|`|é|😀|~|1e3|<<: |\\|\\x41|  |0|?x
::|a:b|-|x y|>-|"a|b"|'|'a'|"b"|\t|\ufeff|\r\n|\x85|\u2028|{a: 1, b}|[a: b]|!""".replace("\n", "|").split("|")
HOSTILE = [
    *(
        "|\n",
        "|-2\n",
        "|10\n",
        ">2\n",
        "| # c\n",
        "\n---\n",
        "\n...\n",
        "%YAML 1.2\n---\n",
        "%YAML 2.0\n---\n",
        "%F x\n---\n",
    ),
    *(
        "\r",
        "\x7f",
        "\x80",
        "\xa0",
        "\ufffe",
        "\uffff",
        "\ud800",
        "\0",
        "\x0c",
        "\x1b",
        "\u2029",
        "\\x41",
        "\\/",
        "\\N",
        "\\q",
    ),
    *(
        "x" * 1022,
        "x" * 1024,
        "é" * 600,
        "- - ",
        "{? a}",
        "[? a : b]",
        '{"a":1}',
        '["a":b]',
        "? a\n: b\n",
        "?a",
        ":a",
        "a?",
    ),
    *(
        "!<x> ",
        "!<plain> ",
        "!a:!b ",
        "!&!a ",
        "|#",
        "|-#\n",
        ">2#",
        "! ",
        "!e!x ",
        "&a.b ",
        "&é ",
        "*é",
        "*a : 1",
        "& ",
        "* ",
        "a: - b",
        "''",
        '""',
        "'a\n\n b'",
    ),
]


def test_libyaml_and_python_read_the_same():
    """Values and places, and what is an error: a spec does not depend on how PyYAML was built."""

    def outcome(text):
        try:
            return shown(spec.read_text(text, "t"))
        except SpecError as error:
            return str(error)

    def shown(node):
        value = node.value
        if isinstance(value, dict):
            value = [(key, node.keys[key], shown(item)) for key, item in value.items()]
        elif isinstance(value, list):
            value = [shown(item) for item in value]
        elif value is None:  # nothing at the end of a text has no single place
            return None
        place = node.place
        return repr(value), (place.line, place.column) if isinstance(value, list) else place

    rng = random.Random(0)
    pieces = [*PIECES, *HOSTILE, "\n", "\n  ", "|\n"]
    texts = ["".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9))) for _ in range(1500)]
    for _ in range(150):  # real specs, damaged
        text = rng.choice(CONFIGS)
        where = rng.randrange(len(text))
        texts.append(text[:where] + rng.choice(pieces) + text[where + rng.randrange(3) :])
    fast = [outcome(text) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "_FastLoader", spec._Loader)
        slow = [outcome(text) for text in texts]
    assert [(text, a, b) for text, a, b in zip(texts, fast, slow, strict=True) if a != b] == []
    assert sum(not isinstance(a, str) for a in fast) > 90


def test_a_spec_of_a_very_large_net_is_read():
    assert len(read("layers:\n" + "- {name: a, type: B, bottom: [c, d], p: 3}\n" * 2800)["layers"]) == 2800


# Files


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "the file is empty; a spec has `layers:` and usually `solver:`"),
        (b"\n\n\n", "the file is empty"),
        (b"# only\n# comments\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"name: a\nlabel: caf\xe9\n", "a.yaml:2:11: this is not a YAML file: byte 18"),
        ("name: ä\n".encode("latin-1"), "a.yaml:1:7: this is not a YAML file: byte 6"),
        ("name: a\n".encode("utf-16"), "this is not a YAML file: byte 0"),
        (bytes(range(256)), "this is not a YAML file: byte 128"),
        (b"\x89PNG\r\n\x1a\n\0\0", "this is not a YAML file: byte 0"),
        (b"PK\x03\x04" + b"\0" * 30, "a.yaml:1:3: character #x03 does not belong in YAML"),
        (b"name: a\nnet: \0\n", "a.yaml:2:6: character #x00 does not belong in YAML"),
        (b'name: "\x1b[31m"\n', "a.yaml:1:8: character #x1b does not belong in YAML"),
        (b"name: a\rnet: \0\r", "a.yaml:2:6: character #x00 does not belong in YAML"),
        ("name: a\u2028net: \0\n".encode(), "a.yaml:2:6: character #x00 does not belong in YAML"),
    ],
)
def test_a_file_that_is_not_yaml(raw, words, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    with pytest.raises(SpecError) as error:
        read_file(path, "a.yaml")
    assert words in str(error.value)


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\0"', '"a\\x1bb"', '"\\x9b31m"', '"\\N"', '{"\\udfff": 1}', "{a: ['\u0085', \"\\e\"]}"]
)
def test_characters_that_no_text_should_hold_are_an_error_even_when_escaped(text):
    """Half a character cannot be printed, a NUL cannot be in a file's name, an escape writes to the terminal."""
    with pytest.raises(SpecError) as error:
        read_text(f"name: {text}\n", "a.yaml")
    str(error.value).encode()
    assert "does not belong" in str(error.value)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(SpecError, match=r"this is a folder, not a YAML file"):
        read_file(tmp_path)


def test_a_missing_file(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file or directory"):
        read_file(tmp_path / "a.yaml")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\n")
    really_open = os.open

    def guarded(file, *args, **kwargs):  # root may read anything, so the system's answer is simulated
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(file))
        return really_open(file, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)
    with pytest.raises(SpecError, match="cannot be read: Permission denied"):
        read_file(path)


def test_a_link_to_itself(tmp_path):
    path = tmp_path / "a.yaml"
    path.symlink_to(path)
    with pytest.raises(NettrainError, match=r"a\.yaml: "):
        load(path)


def test_of_an_endless_file_no_more_is_read_than_a_spec_may_have(tmp_path):
    path, most, written = tmp_path / "a.yaml", 50_000_000, []
    os.mkfifo(path)
    kept_open = os.open(path, os.O_RDWR)

    def feed():
        with path.open("wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
            while sum(written) < most:
                written.append(file.write(b"#" * 65536))

    feeder = threading.Thread(target=feed)
    feeder.start()
    with pytest.raises(SpecError, match="too large for a spec"):
        read_file(path)
    os.close(kept_open)  # the last one that could read
    feeder.join()
    assert sum(written) < most / 2


def test_a_pipe_can_be_read(tmp_path):
    """As in ``nettrain check <(make_spec)``."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"name: piped\n")
    os.close(write_end)
    try:
        assert read_file(Path(f"/dev/fd/{read_end}")).to_python() == {"name": "piped"}
    finally:
        os.close(read_end)


# Syntax errors, in words for someone who writes YAML for the first time


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n\tb: 1\n", "2:1"),
        ("a:\n  - b\n\t- c\n", "3:1"),
        ("a:\t1\n", "1:3"),
        ("\ta: 1\n", "1:1"),
    ],
)
def test_tabs(text, place):
    assert errors(text) == [f"{place}: a tab here; YAML is indented with spaces"]


def test_a_tab_inside_a_string_is_not_a_mistake():
    assert read('a: "b\tc"\nb: "d" # e\tf\n') == {"a": "b\tc", "b": "d"}


def test_a_second_document():
    assert errors("a: 1\n---\na: 2\n") == ["2:1: a second document starts here; a spec is one document"]
    assert read("---\na: 1\n...\n") == {"a": 1}
    assert read("%YAML 1.2\n---\na: 010\n") == {"a": 10}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
        ("a: 1\nb: [1, 2\n", 3, "line 2"),
        ("a: {b: 1\n", 2, "line 1"),
        ("a: 1\nb: 'text\nc: 2\n", 4, "line 2"),
        ("a: 1\n  b: 2\n", 2, "not valid YAML"),
        ("a\nb: 2\n", 2, "not valid YAML"),
        ("a: b: c\n", 1, "not valid YAML"),
        ("a: @b\n", 1, "'@'"),
        ("a: %b\n", 1, "'%'"),
        ("a: `b`\n", 1, "'`'"),
        ('a: "\\q"\n', 1, "escape"),
        ("- a\nb: 1\n", 2, "not valid YAML"),
        ("a: ]\n", 1, "not valid YAML"),
        ("a: &\n", 1, "not valid YAML"),
    ],
)
def test_syntax_errors_have_a_place(text, line, words):
    (message,) = errors(text)
    assert message.startswith(f"{line}:")
    assert words in message
    assert "yaml" not in message.replace("YAML", "").casefold()
    assert "<block" not in message or "not valid YAML" in message


# Nothing runs


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:pathlib.Path.touch [{path}]",
        "!!python/object/new:pathlib.Path [{path}]",
        '!!python/object/apply:os.system ["touch {path}"]',
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [1, 2]",
        "!!binary aGVsbG8=",
        "!!timestamp 2020-01-01",
        "!!set {{a}}",
        "!!omap [a: 1]",
        "!!int '3'",
        "!!float 3",
        "!mine 3",
        "!<tag:example.com,2020:x> 3",
        "!<plain> '3'",
        "!<text> 3",
        "!!str [3]",
        "!!str {{a: 3}}",
    ],
)
def test_tags_are_never_constructed(tag, tmp_path):
    path = tmp_path / "touched"
    (message,) = errors(f"a: 1\nb: {tag.format(path=path)}\n")
    assert message.startswith("2:4: the tag ")
    assert message.endswith(" has no place in a spec: only plain values are read")
    assert not path.exists()


def test_an_unknown_tag_handle_is_an_error():
    (message,) = errors("a: !e!x 1\n")
    assert "!e!" in message


@pytest.mark.parametrize("key", ["? [a, b]\n: 1\n", "? {a: b}\n: 1\n", "{[a]: 1}\n", "a: {{b: c}: 1}\n"])
def test_a_key_must_be_a_single_word(key):
    (message,) = errors(key)
    assert message.endswith("a key must be a single word")


# --set

SPEC = """
name: small
solver: {base_lr: 0.1, max_iter: 10, stepvalue: [1, 2]}
layers:
  - {name: digits, type: Data, top: [data, label], source: digits, batch_size: {train: 8, test: 9}}
  - {name: ip1, type: InnerProduct, bottom: data, num_output: 10}
  - {name: ip2, type: InnerProduct, num_output: 10, param: [{lr_mult: 1}, {lr_mult: 2}], weight_filler: msra}
  - {name: inception/1x1, type: ReLU}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip2, label]}
"""


def setting(*settings):
    """The spec with these settings, layers by name."""
    data = load(SPEC, settings).to_python()
    return data | {layer["name"]: layer for layer in data.pop("layers")}


@pytest.mark.parametrize(
    ("option", "path", "value"),
    [
        ("solver.base_lr=1e-3", "solver base_lr", 0.001),
        ("solver.momentum=0.9", "solver momentum", 0.9),
        (" solver.base_lr = 0.5", "solver base_lr", 0.5),
        ("solver.stepvalue=[3, 4]", "solver stepvalue", [3, 4]),
        ("solver.stepvalue.1=7", "solver stepvalue", [1, 7]),
        ("solver.snapshot_prefix=a=b", "solver snapshot_prefix", "a=b"),
        ("solver.snapshot_prefix=on", "solver snapshot_prefix", "on"),
        ("solver.snapshot_prefix='1'", "solver snapshot_prefix", "1"),
        ("solver.max_iter=0x10 # sixteen", "solver max_iter", 16),
        ("solver={base_lr: 1, max_iter: 2}", "solver", {"base_lr": 1, "max_iter": 2}),
        ("name=other", "name", "other"),
        ("force_backward=true", "force_backward", True),
        ("ip1.num_output=32", "ip1 num_output", 32),
        ("ip1.axis=-1", "ip1 axis", -1),
        ("ip1.weight_filler={type: gaussian, std: 0.1}", "ip1 weight_filler", {"type": "gaussian", "std": 0.1}),
        ("ip1.weight_filler.type=msra", "ip1 weight_filler", {"type": "msra"}),
        ("ip2.param.0.lr_mult=0", "ip2 param", [{"lr_mult": 0}, {"lr_mult": 2}]),
        ("ip2.param.1={lr_mult: 0}", "ip2 param", [{"lr_mult": 1}, {"lr_mult": 0}]),
        ("ip1.param.0.lr_mult=0", "ip1 param", [{"lr_mult": 0}]),
        ("digits.top.1=answer", "digits top", ["data", "answer"]),
        ("digits.batch_size.train=4", "digits batch_size", {"train": 4, "test": 9}),
        ("digits.batch_size=4", "digits batch_size", 4),
        ("digits.transform.scale=0.5", "digits transform", {"scale": 0.5}),
        ("inception/1x1.negative_slope=0.1", "inception/1x1 negative_slope", 0.1),
    ],
)
def test_set(option, path, value):
    target = setting("loss.bottom=[ip2, answer]", option) if "answer" in option else setting(option)
    for step in path.split():
        target = target[step]
    assert target == value
    assert type(target) is type(value)


def test_of_two_settings_of_one_key_the_last_one_counts():
    assert setting("ip1.num_output=3", "ip1.num_output=4")["ip1"]["num_output"] == 4


def test_a_setting_reaches_every_layer_of_that_name():
    spec = load(
        "layers:\n- {name: a, type: Input, shape: [2], include: train}\n- {name: a, type: Input, shape: [3]}\n",
        ["a.shape=[5]"],
    )
    assert [layer["shape"] for layer in spec.to_python()["layers"]] == [[5], [5]]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("solver.base_lr", "write it as KEY=VALUE, such as solver.base_lr=0.1 or conv1.num_output=32"),
        ("=3", "write it as KEY=VALUE"),
        ("", "write it as KEY=VALUE"),
        ("iip1.num_output=3", "there is no layer `iip1`; did you mean `ip1.num_output`?"),
        ("IP1.num_output=3", "there is no layer `IP1`; did you mean `ip1.num_output`?"),
        ("Solver.base_lr=3", "there is no layer `Solver`; did you mean `solver.base_lr`?"),
        (".num_output=3", "there is no layer ``"),
        ("ip1.num_output.x=3", "`x` cannot be set inside 10"),
        ("solver.base_lr.x.y=3", "cannot be set inside 0.1"),
        ("digits.top.5=x", "`5` cannot be set inside a list"),
        ("digits.top.²=x", "`²` cannot be set inside a list"),
        ("digits.top.first=x", "`first` cannot be set inside a list"),
        ("digits.batch_size.trian=4", "Data.batch_size has no key `trian`; did you mean `digits.batch_size.train`?"),
        ("solver.base_lr=[1", "not valid YAML"),
        ("solver.base_lr='0.1", "not valid YAML"),
        ("solver.base_lr=!!python/name:os.system", "has no place in a spec"),
        ("ip1.num_output=", "InnerProduct.num_output must be an integer >= 1, got nothing"),
        ("ip1.num_output='3'", 'InnerProduct.num_output must be an integer >= 1, got the string "3"'),
        ("ip1.num_output=# 3", "InnerProduct.num_output must be an integer >= 1, got nothing"),
        ("ip2.param.0.lr_mlt=0", "has no key `lr_mlt`; did you mean `ip2.param.0.lr_mult`?"),
        ("nmae=x", "a spec has no key `nmae`; did you mean `name`?"),
        ("ip1=3", "ip1"),
        ("layers=3", "layers must be a list with at least one layer, each after a `- `, got 3"),
        ("name=\udce9", "does not belong"),
    ],
)
def test_a_wrong_setting_is_an_error_that_shows_it(option, words):
    with pytest.raises(SpecError) as error:
        load(SPEC, [option])
    assert words in str(error.value)
    assert str(error.value).startswith(f"--set {printable(option)}: ")


@pytest.mark.parametrize(
    "option",
    [
        "digits.batch_size=0",
        "digits.batch_size={train: 0, test: 0}",
        "digits.source={train: [], test: {}}",
        "digits.transform={scale: x, crop_size: [1, {a: 2}]}",
        "ip1.weight_filler=[[1]]",
        "ip1.param=[{lr_mult: x}, 3]",
        "loss.include=[{phase: x}]",
        "solver.monitor={metric: {a: 1}}",
        "solver.test_state=[{stage: {a: 1}}, [2]]",
    ],
)
def test_the_place_of_what_is_wrong_in_a_setting_is_the_setting(option):
    with pytest.raises(SpecError) as error:
        nettrain.get_solver("configs/mlp.yaml", settings=[option])
    assert {str(problem.place) for problem in error.value.problems} == {f"--set {option}"}


def test_all_wrong_settings_are_reported():
    with pytest.raises(SpecError) as error:
        load(SPEC, ["ip9.num_output=3", "solver", "ip1.num_output=x"])
    assert len(error.value.problems) == 3


def test_setting_a_layer_itself_says_what_can_be_set():
    with pytest.raises(SpecError, match=r"`ip1` is a layer; set one of its keys, such as ip1\.num_output=…"):
        load(SPEC, ["ip1=3"])
