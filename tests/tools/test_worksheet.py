"""Worksheets: always the same for a seed, answers that are right, blanks where something is to be found."""

import json
import re

import pytest
from nettrain.tools import worksheet


def by_hand(sheet):
    """Values and gradients from the formulas, by Python's own arithmetic and a difference of 1e-3 each way."""

    def values(shift=None):
        known = dict(sheet.given)
        if shift:
            known[shift[0]] = known.get(shift[0], 0) + shift[1]
        for name, formula in sheet.formulas.items():
            known[name] = eval(formula, {"max": max}, known)
            if shift and shift[0] == name:
                known[name] += shift[1]
        return known

    last = sheet.names[-1]
    return values(), {name: (values((name, 1e-3))[last] - values((name, -1e-3))[last]) / 2e-3 for name in sheet.names}


@pytest.mark.parametrize("gates", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("seed", [0, 1, 7, 123456789])
def test_answers_are_right_and_can_be_found_on_paper(seed, gates):
    sheet = worksheet.make(seed, gates)
    values, gradients = by_hand(sheet)
    assert len(sheet.formulas) == gates
    for name in sheet.names:
        assert sheet.value(name) == values[name]
        assert sheet.gradient(name) == pytest.approx(gradients[name], abs=1e-6)
        for number in (sheet.value(name), sheet.gradient(name)):
            assert number == int(number)
            assert abs(number) <= 50
    read = " ".join(sheet.formulas.values())
    for name in sheet.names[:-1]:  # nothing hangs in the air
        assert re.search(rf"\b{name}\b", read)


def test_a_seed_is_a_worksheet(nettrain_cli):
    first, again = (nettrain_cli("worksheet", "--seed", "7").stdout for _ in range(2))
    assert first == again
    assert first != nettrain_cli("worksheet", "--seed", "8").stdout
    exercise, answers = first.split("answers\n")
    assert exercise.count("____") == 2 * 4 + 3 - 1  # values of 4 gates, gradients of all 7 but the result
    assert "____" not in answers
    assert "what the gate does" in answers


def test_as_json_and_as_a_page(nettrain_cli, workdir):
    data = json.loads(nettrain_cli("worksheet", "--seed", "7", "--json", "--html", "sheet.html").stdout)
    page = (workdir / "sheet.html").read_text()
    blank, answers = page.split('<section class="answers">')
    assert "<!--" not in page
    assert blank.count("____") > 10
    assert "____" not in answers
    for name, formula in data["gates"].items():
        assert f"{name} = {formula}" in blank
    shown = [float(text) for text in re.findall(r'class="gradient"[^>]*>([^<]*)<', answers)]
    assert {answer["gradient"] for answer in data["answers"].values()} <= set(shown)
    assert "http" not in page


def test_bad_requests(nettrain_cli):
    assert "cannot be written" in nettrain_cli("worksheet", "--html", "no/such/folder.html", exit_code=1).stderr
    assert "1<=x<=12" in nettrain_cli("worksheet", "--gates", "13", exit_code=2).stderr
