"""Reading and writing Caffe's messages, compared with the protobuf package over classes made from the same table."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from nettrain.files import wire
from nettrain.interop.caffe import binary
from nettrain.interop.caffe.binding import Binder
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.message import Message
from nettrain.interop.caffe.schema import INTEGERS, messages
from nettrain.interop.caffe.text import parse
from nettrain.interop.caffe.text_out import to_text
from nettrain.spec.errors import NettrainError, Place, Problems, SpecError

NAMES = [name for name, fields in messages().items() if any(field.number for field in fields.values())]


def read_text(text, type_name="NetParameter", name="a.prototxt"):
    problems, warnings = Problems(), []
    document = parse(text, name, problems)
    made = Binder(problems, warnings).message(type_name, document.fields, Place(name, 1, 1))
    problems.raise_if_any()
    return made, warnings


def errors_of(text, type_name="NetParameter"):
    with pytest.raises(SpecError) as caught:
        read_text(text, type_name)
    return [(p.place.line, p.place.column, p.message) for p in caught.value.problems]


def value_of(field, rng, depth):
    if field.is_message:
        return random_message(field.type, rng, depth + 1)
    if field.choices:
        return rng.choice([name for name, number in field.choices.items() if number >= 0])
    if field.type in INTEGERS:
        low, high = INTEGERS[field.type]
        return rng.choice([low, high, 0, 1, rng.randint(low, high), rng.randint(0, 300)])
    return {
        "bool": lambda: rng.random() < 0.5,
        "string": lambda: "".join(rng.choice("ab/_ \"'\\\n\té€\x01") for _ in range(rng.randrange(6))),
        "bytes": lambda: bytes(rng.randrange(256) for _ in range(rng.randrange(6))),
        "float": lambda: float(np.float32(rng.choice([0, 0.1, -1e-30, 3e38, math.inf, rng.gauss(0, 1)]))),
        "double": lambda: rng.choice([0.0, 0.1, 1e300, -math.inf, rng.gauss(0, 1)]),
    }[field.type]()


def random_message(name, rng, depth=0):
    made = Message(name)
    for field in messages()[name].values():
        if not field.number or (field.is_message and depth > 2):
            continue
        if field.label == "required" or rng.random() < 0.4:
            count = rng.randint(1, 4) if field.is_repeated else 1
            made.add(field.name, *(value_of(field, rng, depth) for _ in range(count)))
    return made


def as_protobuf(message):
    theirs = classes()[message.type]()
    for name in message.fields:
        field = message.about(name)
        values = [entry.value for entry in message.entries(name)] if field.is_message else message.many(name)
        for value in values:
            if isinstance(value, Message):
                into = getattr(theirs, name).add() if field.is_repeated else getattr(theirs, name)
                into.CopyFrom(as_protobuf(value))
            else:
                value = field.choices[value] if field.choices else value
                getattr(theirs, name).append(value) if field.is_repeated else setattr(theirs, name, value)
    return theirs


@pytest.mark.parametrize("name", NAMES)
def test_the_wire_format_is_protobufs(name):
    rng = random.Random(name)
    for _ in range(8):
        ours = random_message(name, rng)
        theirs = as_protobuf(ours)
        raw = theirs.SerializeToString()
        assert b"".join(binary.write(ours)) == raw
        assert as_protobuf(binary.read(raw, name, "it")) == theirs
        assert b"".join(binary.write(binary.read(raw, name, "it"))) == raw


@pytest.mark.parametrize("name", NAMES)
def test_the_text_is_protobufs(name):
    rng = random.Random(name)
    for _ in range(8):
        ours = random_message(name, rng)
        theirs = as_protobuf(ours)
        assert text_format.Parse(to_text(ours), classes()[name]()) == theirs
        assert as_protobuf(read_text(text_format.MessageToString(theirs), name)[0]) == theirs
        assert as_protobuf(read_text(to_text(ours), name)[0]) == theirs


def test_the_table_is_caffes():
    """Against the facts that were compared with real Caffe's descriptor, counted here: 63 messages, 423 fields."""
    with_numbers = [field for fields in messages().values() for field in fields.values() if field.number]
    assert len(NAMES) == 63
    assert len(with_numbers) == 423
    layer = messages()["LayerParameter"]
    assert {layer[name].number for name in layer if name.endswith("_param") and layer[name].number} == set(
        range(100, 149)
    )


def test_lists_that_are_not_packed_or_mixed_are_read():
    shape = b"\x08\x02\x0a\x01\x03"  # dim 2, then a packed run of 3
    assert binary.read(shape, "BlobShape", "it").many("dim") == [2, 3]
    values = np.arange(1000, dtype="<f4")
    single = b"".join(b"\x2d" + value.tobytes() for value in values)
    packed = b"\x2a\x08" + np.array([7, 8], "<f4").tobytes()
    blob = binary.read(b"\x08\x05" + single + packed + b"\x10\x06" + single[:5], "BlobProto", "it")
    assert blob.array("data").tolist() == [*values, 7, 8, 0]
    assert (blob.one("num"), blob.one("channels")) == (5, 6)


def test_a_single_message_that_comes_twice_is_merged():
    solver = classes()["SolverParameter"]
    first, second = solver(), solver()
    first.train_state.level, first.train_state.stage[:] = 3, ["a"]
    second.train_state.level, second.train_state.stage[:] = 4, ["b"]
    raw = first.SerializeToString() + second.SerializeToString()
    assert as_protobuf(binary.read(raw, "SolverParameter", "it")) == solver.FromString(raw)


def test_large_arrays_are_not_copied():
    array = np.arange(100_000, dtype=np.float32)
    blob = Message("BlobProto").add("data", array)
    pieces = binary.write(blob)
    assert any(
        isinstance(piece, memoryview) and np.shares_memory(np.frombuffer(piece, "f4"), array) for piece in pieces
    )
    raw = memoryview(b"".join(pieces))
    assert np.shares_memory(binary.read(raw, "BlobProto", "it").array("data"), np.frombuffer(raw, np.uint8))


def test_damaged_bytes_are_an_error_or_a_message():
    rng = random.Random(0)
    raws = [as_protobuf(random_message("NetParameter", rng)).SerializeToString() for _ in range(6)]
    told = 0
    for _ in range(3000):
        raw = bytearray(rng.choice(raws))
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        said = "it is damaged, or not a NetParameter of Caffe's: "
        try:
            binary.read(bytes(raw[: rng.randrange(len(raw)) + 1]), "NetParameter", "it")
        except NettrainError as error:
            said, told = str(error), told + 1
        assert said.startswith("it is damaged, or not a NetParameter of Caffe's: ")
    assert told > 100


def test_bombs_end_soon():
    with pytest.raises(NettrainError, match="more messages than any net has"):
        binary.read(wire.tag_of(100, 2) + b"\0" + (wire.tag_of(100, 2) + b"\0") * 300_000, "NetParameter", "it")
    dims = b"\1" * 1_000_000
    with pytest.raises(NettrainError, match="more fields than any net has"):
        binary.read(b"\x0a" + wire.write_varint(len(dims)) + dims, "BlobShape", "it")


LAYER = "layer {{ name: 'a' type: 'Convolution' convolution_param {{ {} }} }}"

# What Caffe's reader takes: the table of what its text format allows.
TAKEN = [
    ("num_output: 10", {"num_output": [10]}),
    ("num_output: 0x10", {"num_output": [16]}),
    ("num_output: 010", {"num_output": [8]}),
    ("kernel_size: [3, 5]", {"kernel_size": [3, 5]}),
    ("kernel_size: [3, 5,]", {"kernel_size": [3, 5]}),
    ("kernel_size: []", {}),
    ("kernel_size: 3, kernel_size: 5;", {"kernel_size": [3, 5]}),
    ("axis: -1", {"axis": [-1]}),
    ("axis: - 1", {"axis": [-1]}),
    ("bias_term: t", {"bias_term": [True]}),
    ("bias_term: False", {"bias_term": [False]}),
    ("bias_term: 0", {"bias_term": [False]}),
    ("engine: CAFFE", {"engine": ["CAFFE"]}),
    ("engine: 2", {"engine": ["CUDNN"]}),
    ("num_output: 3 # ten\n group: 2", {"num_output": [3], "group": [2]}),
]


@pytest.mark.parametrize(("written", "expected"), TAKEN, ids=[row[0] for row in TAKEN])
def test_what_caffe_takes_is_taken(written, expected):
    net, warnings = read_text(LAYER.format(written))
    found = net.many("layer")[0].one("convolution_param")
    assert {name: found.many(name) for name in found.fields if found.has(name)} == expected
    assert not warnings


@pytest.mark.parametrize(
    ("written", "value"),
    [("1", 1), ("1.", 1.0), (".5", 0.5), ("1e-3", 1e-3), ("1f", 1.0), ("1.5F", 1.5), ("-inf", -math.inf), ("- 2", -2)],
)
def test_numbers_of_float_fields(written, value):
    net, _ = read_text(f"layer {{ loss_weight: {written} }}")
    assert net.many("layer")[0].many("loss_weight") == [value]


def test_brackets_and_strings():
    text = "name: 'a' \"b\\x41\\101\\n\" layer < name: \"\\u00e9\" > layer: { name: 'it\\'s' }"
    text += " layer: [{name: 'x'}, {name: 'y'}]"
    net, _ = read_text("\ufeff" + text.replace(" layer", "\r\nlayer"))
    assert net.one("name") == "abAA\n"
    assert [layer.one("name") for layer in net.many("layer")] == ["é", "it's", "x", "y"]
    assert [layer.place.line for layer in net.many("layer")] == [2, 3, 4, 4]


REFUSED = [
    ("num_output: 1.0", 1, "`num_output` must be a whole number, got 1.0"),
    ("num_output: -1", 1, "`num_output` must be a whole number from 0 to 4,294,967,295, got -1"),
    ("num_output: 099", 1, "`num_output` must be a whole number; one that begins with 0 is octal, got 099"),
    ("num_output: 3 num_output: 4", 1, "`num_output` is written twice; first on line 1"),
    ("bias_term: yes", 1, "`bias_term` must be true or false, got yes"),
    ("engine: CUDN", 1, "`engine` has no value CUDN; did you mean CUDNN?"),
    ("num_output 3", 1, "a `:` is missing: num_output: 3"),
    ("num_output: 3 // ten", 1, "comments begin with #"),
    ("num_output: 'ten'", 1, '`num_output` must be a whole number without quotation marks, got "ten"'),
    ("num_output { }", 1, "`num_output` must be a single value, not { … }, got { … }"),
    ("weight_filler: 3", 1, "`weight_filler` must be { … } with type, value, min, max …, got 3"),
    ("weight_filler { std: 1/255 }", 1, "`std` must be a number, 0.00392156863, got 1/255"),
    ("weight_filler { std: 0,5 }", 1, "a field's name must stand here, got 5; numbers have a point, not a comma"),
    ("weight_filler { std: 010 }", 1, "`std` must be a number that does not begin with 0, which is octal, got 010"),
    ("weight_filler { type: “msra” }", 1, '`type` must be text in straight quotation marks: type: "msra", got “msra”'),
    (
        "weight_filler { type: 'a\\q' }",
        1,
        r"`\q` stands for no character; a backslash itself is `\\`, and paths have `/`",
    ),
    ("num_output: [3]", 1, "`num_output` is one value, and cannot be a list in square brackets"),
    ("num_output = 3", 1, "a field and its value have a `:` between them: num_output: …"),
    ("num_output:\u00a03", 1, "the character U+00A0 is here, which looks like a space; write a plain one"),
    ("weight_filler { type: 'gau\n ssian' }", 1, "a quotation mark is not closed on its line"),
]


@pytest.mark.parametrize(("written", "line", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_caffe_refuses_has_a_place_and_a_reason(written, line, message):
    assert (line, message) in [(at, words) for at, _, words in errors_of(LAYER.format(written))]


BOOLS = "true false t f True False 1 0 TRUE yes 2 'true' True. -1"
WHOLE = "1 0x1F 0X1f 010 08 00 -0 1.0 1e3 -1 --1 - '1' 1L 0x 1; 1, 1,2 2147483648"
FLOATS = "1 1. .5 1.5f 1F -1 1e5 1E+5 e5 1e 0x10 010 0.1,2 . - 1.2.3 1d"
SPECIAL = "inf -inf INF Infinity nan -nan NaN 1/2 1e99 08 09.5 0.5. 0f '1'"

# Texts that people write, each taken or refused as protobuf's own reader does, and with its values.
WRITTEN = [
    *("name: 'a'", "name:'a';", "name: 'a',", "name: 'a';;", "name 'a'", "name: “a”", "name: a", "name: 5", "name"),
    *("\tname:\t'a'\r\n", "name: 'a' # c", "name: # c\n 'a' # d\n \"b\"", "name: 'a\nb'", "name: 'a", "name = 'a'", ""),
    *("name: ['a']", "name: []", "name: ['a', 'b']", "name: 'a' name: 'b'", "name:: 'a'", "name: 'a' }", "{", "<", "x"),
    *("input: 'a' input: ['b', 'c' 'd']", "input: ['a' , , 'b']", "input: ['a'", "input: 'a', input: 'b'; input: 'c'"),
    *("name: 'a'input: 'b'", "input_dim: 5name: 'a'", "layer{name:'a'type:'b'}layer{}", "// c\nname: 'a'", "# only"),
    *(f"force_backward: {word}" for word in BOOLS.split()),
    *(f"input_dim: {n}" for n in WHOLE.split()),
    *("input_dim: [1, 2]", "input_dim: [1 2]", "input_dim: [1; 2]", "input_dim: 1 2", "input_dim:1input_dim:2"),
    *(
        "layer: { }",
        "layer < >",
        "layer: < name: 'a' >",
        "layer { >",
        "layer { ",
        "layer { }}",
        "layer { };",
        "layer: 5",
    ),
    *("layer [{name: 'a'}, {}]", "layer: [<>, {}]", "layer: [{} {}]", "layer { , }", "layer {{ }}", "layer", "layer:"),
    *(f"layers {{ type: {kind} }}" for kind in ("CONVOLUTION", "4", "0x4", "-1", "999", "CONV", "4.0")),
    *("state { phase: TEST level: 1 }", "state: { phase: 1 }", "state { } state { }", "[a.b]: 5", "layer { foo: 1 }"),
    *(rf"name: 'a\{escape}'" for escape in ("n", "x41", "101", "u00e9", "U0001F600", "'", "x", "u12", "U00110000")),
    *(
        "name: 'a\\\nb'",
        "name: 'é'",
        "name: 'a\tb'",
        "\x0cname: 'a'",
        "name: 'a'\0",
        "/* c */",
        "name; 'a'",
        "name 'a' :",
    ),
    *(f"layer {{ loss_weight: {x} }}" for x in FLOATS.split()),
    *(f"layer {{ loss_weight: {x} }}" for x in SPECIAL.split()),
]


def test_what_people_write_is_read_as_protobuf_reads_it():
    for text in WRITTEN:
        try:
            theirs = text_format.Parse(text, classes()["NetParameter"]()).SerializePartialToString()
        except text_format.ParseError:
            theirs = None
        try:
            net, warnings = read_text(text)
            is_known = not warnings and not any(part.unknown for part in net.parts())
            ours = as_protobuf(net).SerializePartialToString() if is_known else None
        except SpecError:
            ours = None
        assert ours == theirs, text


def test_everything_wrong_is_told_at_once():
    text = "layer {\n  name: 3\n  type ReLU\n  bottom: 'a'\n}\nlayer {\n  loss_weight: x\n  phase: TESTS\n}\n"
    assert [(line, column) for line, column, _ in errors_of(text)] == [(2, 9), (3, 3), (7, 16), (8, 10)]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("layer {\n name: 'a'\n", (1, 7), "`{` is never closed; a `}` is missing"),
        ("layer {\n}\n}\n", (3, 1), "`}` closes nothing: there is one too many, or one before is not opened"),
        ("layer <\n}\n", (2, 1), "`}` closes `<` of line 1; `>` is right"),
        ("layer {" * 60, (1, 357), "nested deeper than 50 levels"),
    ],
)
def test_brackets_that_do_not_match_end_the_reading(text, place, message):
    assert (*place, message) in errors_of(text)


def test_slips_that_are_clear_are_read_with_a_warning():
    net, warnings = read_text("layer { phase: 'test' pooling_param { pool: max } }")
    layer = net.many("layer")[0]
    assert (layer.one("phase"), layer.one("pooling_param").one("pool")) == ("TEST", "MAX")
    assert [str(w.message) for w in warnings] == [
        "Caffe takes only TEST, as a word without quotation marks",
        "Caffe takes only MAX, as a word without quotation marks",
    ]


def test_fields_that_are_not_in_the_table_are_kept_by_name():
    net, _ = read_text("layer { name: 'a' odd_param { x: [1, {y: 2}] } } colour: 'red'")
    assert [(u.message, u.name, u.place.column) for part in net.parts() for u in part.unknown] == [
        ("NetParameter", "colour", 50),
        ("LayerParameter", "odd_param", 19),
    ]


def test_damaged_text_is_an_error_or_a_message():
    rng = random.Random(1)
    texts = [to_text(random_message("NetParameter", rng)) for _ in range(4)]
    for _ in range(600):
        text = list(rng.choice(texts))
        for _ in range(rng.randint(1, 5)):
            text[rng.randrange(len(text))] = rng.choice("{}[]<>:,;\"'\\#\n 0a-.é\0")
        problems = []
        try:
            read_text("".join(text))
        except SpecError as error:
            problems = error.problems
        assert all(problem.place.line for problem in problems)


def test_fields_json_is_data_alone():
    path = Path(binary.__file__).with_name("fields.json")
    assert json.loads(path.read_text()).keys() == {"enums", "messages"}
