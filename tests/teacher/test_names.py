"""A name that becomes part of a path is one component of it: nothing is read or written outside of the folder meant."""

import pytest
from fault_server import write_cohort

from clinragen.cli import dispatch
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.label_sets import of_manifest
from clinragen.names import file_name
from clinragen.schema import CohortPaths
from clinragen.teacher.files import Files

GOOD = ("openai", "llama-3.1-8b", "qwen2.5_7b", "a", "2026-01-10", "gpt@v2", "Modell-Ä", "x" * 120, "a.b.c", "m+lora=8")
BAD = (
    "../../x", "..", ".", "", " ", "a/b", "/etc/x", "a\\b", "C:\\x", ".hidden", "-rf", "a\nb", "a\x00b", "a\u202eb",
    "a\u200bb", "x" * 121, "Ä" * 70, "a ", "a.", "~root", "$HOME", "*", "a:b", "caf\udce9", "meta-llama/Llama-3", "a b",
)  # fmt: skip
RESERVED = ("a.logprobs", "a.journal", "a.card", "a.examples", "A.LOGPROBS")


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_is_taken(name):
    assert file_name("name", name) == name


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused_in_one_printable_line(name):
    with pytest.raises(UserError, match="expected a name") as raised:
        file_name("name", name)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("name", [*BAD, *RESERVED])
def test_no_teacher_of_such_a_name_has_a_path(name, tmp_path):
    paths = CohortPaths(tmp_path)
    for path in (paths.rationales, paths.logprobs, lambda name: Files(paths, name).journal):
        with pytest.raises(UserError, match="name of a teacher"):
            path(name)


@pytest.mark.parametrize("action", [[], ["status"], ["export"], ["merge", "--journal", "x"], ["--dry-run"]])
@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a.logprobs", "evidence", "Evidence", ".."])
def test_teach_refuses_the_name_before_it_does_anything(action, name, tmp_path):
    command = ["teach", *action, "--cohort", str(tmp_path / "none"), "--teacher", "openai", f"--name={name}"]
    with pytest.raises(UserError, match="name"):
        dispatch(command)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "more", [["--name", "x"], ["--set", "mode=reason"], ["--shard", "0/2"], ["--config", "openai"], ["--journal", "x"]]
)
def test_options_that_the_evidence_teacher_does_not_have_are_not_passed_over(more, tmp_path):
    with pytest.raises(UserError, match=more[0]):
        dispatch(["teach", "--cohort", str(write_cohort(tmp_path / "cohort", 1)), *more])
    assert not (tmp_path / "cohort" / "rationales").exists()


@pytest.mark.parametrize("name", ["../stays", "..", "a/b"])
def test_training_on_a_teacher_reads_no_other_folder(name, tmp_path):
    cohort = CohortPaths(write_cohort(tmp_path / "cohort", 1))
    with pytest.raises(UserError, match="name of a teacher"):
        Cohort.rationales(Cohort(cohort, {}, None), name)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["../../x", "a/b", "", "..", "A B", 7, None])
def test_labels_of_a_manifest_have_keys_that_can_name_files(key):
    label = {"key": key, "name": "x", "icd9": [], "icd10": []}
    with pytest.raises(UserError, match=r"manifest\.json"):
        of_manifest({"label_set": {"name": "own", "labels": [label]}})


COMMANDS = ("train notes --out o", "distill --out o", "evaluate --predictions p", "report --predictions p --out o")


@pytest.mark.parametrize("command", COMMANDS)
def test_other_commands_refuse_it_while_they_read_their_options(command, tmp_path):
    with pytest.raises(UserError, match="name of a teacher"):
        dispatch([*command.split(), "--cohort", str(tmp_path), "--teacher", "../../x"])
