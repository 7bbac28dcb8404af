"""What errors quote from files and command lines can be printed, whatever it is."""

import pytest
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError, printable

SPEC = {"layers": [{"name": "x", "type": "Input", "shape": [2]}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data.npz holds no examples", "data.npz holds no examples"),
        ("two\n\tlines", "two\n\tlines"),
        ("é ٣ 🙂 …", "é ٣ 🙂 …"),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("a\rb\0c\x7fd\x9be", "a\\rb\\x00c\\x7fd\\x9be"),
        ("half \ud800, byte \udcff", "half \\ud800, byte \\udcff"),
    ],
)
def test_control_characters_and_halves_of_characters_are_escaped(text, shown):
    assert printable(text) == shown
    assert str(NettrainError(text)) == shown


@pytest.mark.parametrize("setting", ["x.shape=\udcff", "x.\x1b[31m=1", '\ud800="', "x.shape", "\x9b=[1"])
def test_a_setting_of_odd_characters_is_refused_in_words_that_can_be_printed(setting):
    with pytest.raises(NettrainError) as error:
        load(SPEC, [setting])
    assert printable(str(error.value)) == str(error.value)
    assert "--set " in str(error.value)
    str(error.value).encode()


def test_a_key_of_a_mapping_is_quoted_as_it_can_be_printed():
    with pytest.raises(NettrainError, match=r'the string "\\ud800"'):
        load({"layers": [{"name": "x", "type": "Input", "shape": "\ud800"}]})
