"""External settings and manifests: read literally, never resolved, refused in one line if invalid."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from clinragen import config
from clinragen.artifacts import not_finite, read_json, write_json
from clinragen.errors import UserError


@dataclass
class Inner:
    learning_rate: float = 0.1
    name: str = "x"


@dataclass
class Deep:
    probes: bool = config.setting(True, formerly="paths")


@dataclass
class Settings:
    epochs: int = config.setting(1, formerly="rounds")
    deep: Deep = field(default_factory=Deep)
    inner: Inner = field(default_factory=Inner)
    values: dict[str, str] = field(default_factory=dict)


SECRETS = [
    "name: ${oc.env:SECRET}",
    "name: a ${oc.env:SECRET} b",
    "inner: {name: '${oc.env:SECRET}'}",
    "values: {k: '${oc.decode:1}'}",
    "values: {'${oc.env:SECRET}': v}",
    "list: [1, [2, '${oc.env:SECRET,x}']]",
    "name: ${inner.name}",
    "name: '\\${oc.env:SECRET}'",
    "name: ${oc.env:SECRET",
    "a: &a {b: '${oc.env:SECRET}'}\nc: *a",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_file_reads_the_environment(text, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        config.load_yaml(path)
    assert str(path) in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_values_and_overrides_are_not_resolved_either(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    for values, overrides in (
        ({"inner": {"name": "${oc.env:SECRET}"}}, []),
        ({"values": {"a": "${oc.env:SECRET}"}}, []),
        ({}, ["inner.name=${oc.env:SECRET}"]),
        ({}, ["values.a=${inner.name}"]),
    ):
        with pytest.raises(UserError, match="not interpolated"):
            config.build(Settings, values, "settings", overrides)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("inner.learning_rate=0,001", "write 0.001, with a point"),
        ("epochs=1,5", "with a point"),
        ("epoch=3", "did you mean 'epochs'?"),
        ("inner.learningrate=3", "did you mean 'learning_rate'?"),
        ("epochs=three", "epochs"),
        ("epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("inner.nothing.like.it=3", "inner"),
        ("epochs.more=3", "epochs"),
        ("epochs=[1", "epochs"),
    ],
)
def test_an_override_that_does_not_fit_says_what_would(override, says):
    with pytest.raises(UserError) as refused:
        config.build(Settings, {}, "settings", [override])
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_old_key_of_a_file_or_override_is_read_with_a_hint(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("rounds: 7\ndeep: {paths: false}\n")
    assert config.load("", str(path), Settings) == Settings(epochs=7, deep=Deep(probes=False))
    hints = capsys.readouterr().err
    assert f"note: {path}: rounds is now epochs; the old spelling works" in hints
    assert "deep.paths is now deep.probes" in hints
    for override in ("deep.paths=false", "deep={paths: false}"):
        assert not config.build(Settings, {}, "settings", [override]).deep.probes
        assert "note: --set deep.paths is now deep.probes" in capsys.readouterr().err


def test_the_keys_of_today_and_the_old_ones_of_a_manifest_need_no_hint(capsys):
    old = {"rounds": 7, "deep": {"paths": False}}
    assert config.build(Settings, old, "manifest") == Settings(epochs=7, deep=Deep(probes=False))
    assert old == {"rounds": 7, "deep": {"paths": False}}
    config.build(Settings, {"epochs": 7}, "settings", ["deep.probes=false"])
    assert capsys.readouterr().err == ""


def test_a_setting_under_both_its_keys_is_refused():
    with pytest.raises(UserError, match=r"deep\.paths is now deep\.probes: give only the second"):
        config.build(Settings, {"deep": {"paths": True, "probes": False}}, "settings")


def test_a_digest_of_settings_may_keep_the_old_keys():
    spelled = config.formerly_spelled(Settings(epochs=7))
    assert spelled == {"rounds": 7, "deep": {"paths": True}, "inner": {"learning_rate": 0.1, "name": "x"}, "values": {}}


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 5000 + "]" * 5000,
        "{a: " * 5000 + "1" + "}" * 5000,
        "\n".join(" " * depth + "k:" for depth in range(3000)),
        "a0: &a0 [x]\n" + "\n".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 3)}]" for i in range(20)),
        "a: &a [*a]",
        "a: 1\na: 2",
        "- 1\n- 2",
        "a: !!python/object/apply:os.system [ls]",
        "a: \x00",
    ],
    ids=["brackets", "braces", "indents", "anchors", "itself", "twice", "list", "object", "nul"],
)  # fmt: skip
def test_a_settings_file_that_is_odd_is_refused(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        config.load_yaml(path)
    assert str(path) in str(refused.value)


def test_settings_that_are_not_utf8_or_not_a_file(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: caf\xe9")
    for path in (tmp_path / "latin.yaml", tmp_path, tmp_path / "nowhere.yaml"):
        with pytest.raises(UserError):
            config.load_yaml(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": NaN}', "a is not a finite number"),
        ('{"a": [1, {"b": -Infinity}]}', r"a[1].b is not a finite number"),
        ('{"a": 1e999}', "a is not a finite number"),
        ("[1, 2]", "list"),
        ('"text"', "str"),
        ("", "not valid JSON"),
        ('{"a": 1', "not valid JSON"),
        ('{"a": ' + "[" * 100_000 + "}", "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_a_manifest_that_is_odd_is_refused_with_the_place(text, says, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_json(path, "a manifest")
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


def test_what_is_not_a_file_or_not_text_is_refused(tmp_path):
    (tmp_path / "latin.json").write_bytes(b'{"a": "caf\xe9"}')
    for path in (tmp_path / "latin.json", tmp_path, tmp_path / "nowhere.json"):
        with pytest.raises(UserError):
            read_json(path, "a manifest")


def test_no_number_that_is_not_finite_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())
    write_json(tmp_path / "a.json", {"a": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1.5}
    assert not_finite({"a": [1, 2.5, None, "nan"]}) is None
