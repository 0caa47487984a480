"""Keys, signed notes and canonical JSON: the reference vectors of Go's sumdb/note, and that no altered byte passes."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.signing import COSIGNATURE, Note, PrivateKey, PublicKey, canonical_json, parse_canonical

# the example of golang.org/x/mod/sumdb/note
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
    "mbIUBkBIfZ+qnA==\n"
)

# a public checkpoint of a certificate log, cosigned by public witnesses
PUBLIC = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501
PUBLIC_KEYS = [
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f",
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
]

ICU, WITNESS = PrivateKey("hospital.example/icu", bytes(range(32))), PrivateKey("witness.example/w1", bytes(32))


def key_file(folder, text, mode=0o600):
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_reference_key_signs_the_reference_note(tmp_path):
    key = PrivateKey.read(key_file(tmp_path, SKEY + "\n"))
    assert str(key.public) == VKEY
    assert str(Note(TEXT).signed(key)) == f"{TEXT}\n{LINE}"
    assert Note.parse(f"{TEXT}\n{LINE}").verified([PublicKey.parse(VKEY)]) == {PublicKey.parse(VKEY): None}


def test_the_example_of_the_checkpoint_standard_is_read_and_written_alike():
    note = Note.parse(CHECKPOINT)
    assert str(note) == CHECKPOINT
    assert int.from_bytes(note.signatures[1].value[:8]) == 1679315147


def test_cosignatures_of_public_witnesses_are_verified():
    keys = [PublicKey.parse(text) for text in PUBLIC_KEYS]
    note = Note.parse(PUBLIC)
    assert str(note) == PUBLIC
    signers = note.verified(keys)
    assert list(signers) == keys
    assert {signers[key] for key in keys[1:]} == {0x6A122120}  # the time that all of them stated
    with pytest.raises(UserError, match="is not right"):
        Note.parse(PUBLIC.replace("1432088532", "1432088533")).verified(keys[3:4])


def test_a_key_file_is_private_and_never_replaced(tmp_path):
    key = PrivateKey.generate("hospital.example/icu")
    path = tmp_path / "keys" / "icu.key"
    key.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PrivateKey.read(path) == key
    with pytest.raises(UserError, match="never replaced"):
        PrivateKey.generate("other").write(path)
    assert PrivateKey.read(path) == key
    path.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        PrivateKey.read(path)


def test_a_secret_is_not_in_what_is_printed():
    assert ICU.seed.hex() not in repr(ICU)
    assert repr(ICU.seed) not in repr(ICU)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "tab\t", "no\u00a0break", "x" * 201])
def test_names_that_a_note_cannot_hold_are_refused(name):
    with pytest.raises(UserError, match="without spaces and \\+"):
        PrivateKey.generate(name)


@pytest.mark.parametrize(
    "text", ["", "x", VKEY[:-1], VKEY.replace("c74f", "c74e"), VKEY.replace("Peter", "Paul"), SKEY]
)
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(UserError, match="public key"):
        PublicKey.parse(text)


@pytest.mark.parametrize("text", ["", VKEY, SKEY[:-1], SKEY.replace("Peter", "Paul"), "\x00"])
def test_what_is_no_private_key_is_refused(tmp_path, text):
    with pytest.raises(UserError, match="private key"):
        PrivateKey.read(key_file(tmp_path, text))


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"icu\.key not found"):
        PrivateKey.read(tmp_path / "icu.key")


def test_several_sign_one_note_and_each_is_told():
    note = Note("origin\n3\nhash\n").signed(ICU).cosigned(WITNESS, 1_700_000_000)
    keys = [ICU.public, WITNESS.public.witness]
    assert Note.parse(str(note)).verified(keys) == {ICU.public: None, WITNESS.public.witness: 1_700_000_000}
    assert note.verified([WITNESS.public.witness, PublicKey.parse(VKEY)]) == {WITNESS.public.witness: 1_700_000_000}
    assert note.signed(ICU) == note.cosigned(WITNESS, 1_700_000_000).signed(
        ICU
    )  # a second signature replaces the first
    with pytest.raises(UserError, match="not signed by a trusted key"):
        note.verified([PublicKey.parse(VKEY), WITNESS.public])  # a cosignature is none of the note's key
    assert PublicKey.parse(str(WITNESS.public.witness)).use == COSIGNATURE


@settings(max_examples=150)
@given(st.data())
def test_an_altered_byte_of_a_note_is_noticed(data):
    """It is no note, or a signature is wrong, or one of the two signers is told no more."""
    note = Note("origin\n3\nhash\n").signed(ICU).cosigned(WITNESS, 1_700_000_000)
    written = bytearray(str(note).encode())
    written[data.draw(st.integers(0, len(written) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    keys = [ICU.public, WITNESS.public.witness]
    try:
        signers = Note.parse(written.decode()).verified(keys)
    except (UserError, UnicodeDecodeError):
        return
    assert len(signers) < len(keys)


@settings(max_examples=50)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_read_back_or_refused(text):
    try:
        note = Note(f"{text}\n").signed(ICU)
    except UserError:
        assert any(letter < " " for letter in text.replace("\n", ""))
        return
    assert Note.parse(str(note)) == note
    assert Note.parse(str(note)).verified([ICU.public]) == {ICU.public: None}


TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=8)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from("abcdef"), JSON))
def test_canonical_bytes_do_not_depend_on_the_order_and_are_read_again(value):
    written = canonical_json(value)
    assert written == canonical_json(dict(reversed(list(value.items()))))
    assert parse_canonical(written) == json.loads(written)
    assert canonical_json(parse_canonical(written)) == written


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, float("nan")]}, r"a\[1\]"),
        ({"a": {"b": float("inf")}}, "a.b"),
        ({"n": 2**53}, "n:"),
        ({"a": {1: "x"}}, r"a\[1\]"),
        ({"a": b"bytes"}, "a:"),
        ({"a": "\ud800"}, "surrogate"),
    ],
)
def test_what_has_no_canonical_bytes_is_refused_by_its_place(value, where):
    with pytest.raises(UserError, match=where):
        canonical_json(value)


@pytest.mark.parametrize(
    "written",
    [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.00}', b'{"a":1e400}', b'{"a":NaN}', b'{"a":"\\u0041"}',
     b"[]", b'{"a":1}\n', b"{", b"\xff", b'{"a":' * 100_000, b'{"n":9007199254740992}'],
)  # fmt: skip
def test_other_bytes_for_the_same_value_are_refused(written):
    with pytest.raises(UserError):
        parse_canonical(written)


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(UserError, match="EXTRA=federation"):
        PrivateKey("a", os.urandom(32)).sign(b"message")
