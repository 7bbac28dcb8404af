"""The figures of a test set in words."""

from nettrain.tools.reports.measured import report


def test_amounts_are_written_as_people_write_them():
    figures = {"mae": 40123.4, "rmse": 57281.0, "r2": 0.9472}
    found = {"kind": "values", "net": "", "of": "value", "by": "label", "examples": 400, "outputs": [figures]}
    found |= figures | {"mistakes": [{"example": "a.csv:2", "true": 871800.0, "predicted": 12.5}]}
    text = report(found)
    assert "MAE 40,123 · RMSE 57,281 · R² 0.9472" in text
    assert text.splitlines()[-1].split() == ["a.csv:2", "871,800", "12.5"]
