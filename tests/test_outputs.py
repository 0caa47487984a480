"""``--overwrite`` replaces only what the same command wrote; a race loses nothing; nothing half-written is left."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from clinragen import artifacts, outputs
from clinragen.errors import UserError

KINDS = [value for value in vars(outputs).values() if isinstance(value, outputs.OutputKind)]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written(folder: Path, kind: outputs.OutputKind, content: str = "first") -> Path:
    with outputs.output_folder(folder, kind, overwrite=folder.exists()) as made:
        (made / kind.contents[0].replace("*", "x")).write_text(content)
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_command_replaces_what_it_wrote_and_nothing_else(kind, tmp_path):
    own = written(tmp_path / "own", kind)
    written(own, kind, "second")
    assert (own / kind.contents[0].replace("*", "x")).read_text() == "second"
    for other in KINDS:
        if other is kind:
            continue
        foreign = written(tmp_path / other.name, other)
        before = tree(foreign)
        with pytest.raises(UserError, match=r"left alone|exists"):
            written(foreign, kind)
        assert tree(foreign) == before


def _own_folder(root: Path) -> None:
    (root / "thesis.docx").write_text("years of work")


def _manifest_of_something_else(root: Path) -> None:
    (root / "manifest.json").write_text('{"name": "my browser extension"}')


def _damaged_manifest(root: Path) -> None:
    (root / "manifest.json").write_text('{"kind": "predictions"')


def _list_for_a_manifest(root: Path) -> None:
    (root / "manifest.json").write_text('["predictions"]')


def _own_file_beside_ours(root: Path) -> None:
    (root / "manifest.json").write_text('{"kind": "predictions"}')
    (root / "predictions.jsonl").write_text("")
    (root / "my notes.txt").write_text("mine")


def _own_folder_beside_ours(root: Path) -> None:
    (root / "manifest.json").write_text('{"kind": "predictions"}')
    (root / "paper").mkdir()
    (root / "paper" / "table.tex").write_text("mine")


def _hidden_file_beside_ours(root: Path) -> None:
    (root / "manifest.json").write_text('{"kind": "predictions"}')
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("mine")


def _kind_that_is_no_text(root: Path) -> None:
    (root / "manifest.json").write_text('{"kind": ["predictions"]}')


@pytest.mark.parametrize(
    "fill",
    [
        _own_folder,
        _manifest_of_something_else,
        _damaged_manifest,
        _list_for_a_manifest,
        _own_file_beside_ours,
        _own_folder_beside_ours,
        _hidden_file_beside_ours,
        _kind_that_is_no_text,
    ],
)
def test_a_folder_of_the_users_own_is_left_alone(fill, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    fill(folder)
    before = tree(folder)
    with pytest.raises(UserError) as refused:
        outputs.check_output(folder, outputs.PREDICTIONS, overwrite=True)
    assert str(folder) in str(refused.value)
    with pytest.raises(UserError), outputs.output_folder(folder, outputs.PREDICTIONS, overwrite=True):
        pytest.fail("the work began")
    assert tree(folder) == before


def test_inputs_and_their_parents_are_never_written_over(tmp_path):
    project = tmp_path / "project"
    cohort = written(project / "cohort", outputs.COHORT)
    (tmp_path / "link").symlink_to(project)
    for out in (cohort, project, tmp_path / "link" / "cohort", project / ".." / "project", cohort / "..", tmp_path):
        with pytest.raises(UserError):
            outputs.check_output(out, outputs.COHORT, overwrite=True, inputs=(None, cohort))
    outputs.check_output(project / "predictions", outputs.PREDICTIONS, inputs=(cohort,))
    outputs.check_output(cohort / "audit", outputs.PREDICTIONS, inputs=(cohort,))


def test_places_that_are_judged_before_the_work(tmp_path, monkeypatch):
    folder = written(tmp_path / "folder", outputs.PREDICTIONS)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(folder)
    places = [tmp_path / "link", tmp_path / "dangling", tmp_path / "file", tmp_path / "file" / "below"]
    for out in (*places, Path(), Path(".."), Path("../folder"), folder, Path("/")):
        with pytest.raises(UserError):
            outputs.check_output(out, outputs.PREDICTIONS, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert folder.is_dir()


def test_an_existing_file_is_replaced_only_when_asked_and_never_an_input(tmp_path):
    file = tmp_path / "explained.jsonl"
    begins = (b'{"stay_id"',)
    outputs.check_output_file(file, begins)
    file.write_text('{"stay_id": 7}')
    with pytest.raises(UserError, match="--overwrite"):
        outputs.check_output_file(file, begins)
    outputs.check_output_file(file, begins, overwrite=True)
    with pytest.raises(UserError, match="reads"):
        outputs.check_output_file(file, begins, overwrite=True, inputs=(file,))
    with pytest.raises(UserError, match="folder"):
        outputs.check_output_file(tmp_path, begins, overwrite=True)
    file.write_text("a thesis")
    with pytest.raises(UserError, match="left alone"):
        outputs.check_output_file(file, begins, overwrite=True)
    file.write_text("")
    outputs.check_output_file(file, begins, overwrite=True)


def test_a_folder_that_appears_during_the_work_is_kept_beside_the_result(tmp_path):
    out = tmp_path / "out"

    def work() -> None:
        with outputs.output_folder(out, outputs.PREDICTIONS) as made:
            (made / "predictions.jsonl").write_text("ours")
            out.mkdir()
            (out / "theirs.txt").write_text("theirs")

    with pytest.raises(UserError, match="out-2") as told:
        work()
    assert str(out) in str(told.value)
    assert (out / "theirs.txt").read_text() == "theirs"
    assert (tmp_path / "out-2" / "predictions.jsonl").read_text() == "ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out-2"]


def test_a_folder_that_was_exchanged_during_the_work_is_kept_too(tmp_path):
    out = written(tmp_path / "out", outputs.PREDICTIONS)
    (tmp_path / "out-2").mkdir()

    def work() -> None:
        with outputs.output_folder(out, outputs.PREDICTIONS, overwrite=True) as made:
            (made / "predictions.jsonl").write_text("ours")
            out.rename(tmp_path / "moved")
            out.mkdir()
            (out / "theirs.txt").write_text("theirs")

    with pytest.raises(UserError, match="out-3"):
        work()
    assert (out / "theirs.txt").exists()
    assert (tmp_path / "out-3" / "predictions.jsonl").read_text() == "ours"


def test_what_is_written_is_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        folder = written(tmp_path / "deep" / "folder", outputs.PREDICTIONS)
        artifacts.write_json(tmp_path / "value.json", {"a": 1})
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "manifest.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "value.json").stat().st_mode) == 0o600


_WRITER = """
    import sys, time
    from pathlib import Path
    from clinragen.artifacts import atomic_folder, atomic_path
    from clinragen.errors import exit_code

    def work(argv):
        with atomic_folder(Path(argv[0]), replace=True) as folder, atomic_path(Path(argv[0] + ".json")) as file:
            (folder / "notes.txt").write_text("a patient's note")
            file.write_text("another note")
            print("ready", flush=True)
            while True:  # in pieces: a signal just before a sleep begins is handled when it ends
                time.sleep(0.1)

    sys.exit(exit_code(work, sys.argv[1:]))
"""


def _writer(out: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130)],
    ids=lambda value: str(value),
)
def test_a_signal_leaves_nothing_half_written(number, code, tmp_path):
    process = _writer(tmp_path / "out")
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (code, "stopped\n")
    assert list(tmp_path.iterdir()) == []


_TASKS = """
    import asyncio, os, signal, sys
    from clinragen.errors import exit_code

    async def interrupted():
        os.kill(os.getpid(), int(sys.argv[1]))
        await asyncio.sleep(60)

    async def run():
        async with asyncio.TaskGroup() as group:
            group.create_task(interrupted())
            group.create_task(asyncio.sleep(60))

    sys.exit(exit_code(lambda argv: asyncio.run(run()), sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_of_an_asynchronous_task_is_told_in_one_line(number, code):
    arguments = [sys.executable, "-c", textwrap.dedent(_TASKS), str(int(number))]
    process = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
    assert (process.returncode, process.stderr) == (code, "stopped\n")


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    killed, living = _writer(tmp_path / "out"), _writer(tmp_path / "other")
    killed.kill()
    killed.wait()
    killed.communicate()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 4
    written(tmp_path / "out", outputs.PREDICTIONS)
    artifacts.write_json(tmp_path / "out.json", {})
    artifacts.write_json(tmp_path / "other.json", {})
    written(tmp_path / "other", outputs.PREDICTIONS)
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert sorted(name.split(".")[1] for name in hidden) == ["other", "other"]
    living.terminate()
    living.communicate(timeout=30)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_taken_away_by_a_killed_writer_is_put_back(tmp_path):
    retired = tmp_path / f".out.{'0' * 32}.old"
    retired.mkdir()
    (retired / "answers.jsonl").write_text("paid for")
    artifacts.sweep(tmp_path / "out")
    assert (tmp_path / "out" / "answers.jsonl").read_text() == "paid for"


def test_files_of_like_names_are_not_swept(tmp_path):
    names = [".out.tmp", ".out.1234.tmp", f".out.x.{'0' * 32}.tmp", f".outer.{'0' * 32}.tmp", f".out.{'0' * 31}g.tmp"]
    for name in names:
        (tmp_path / name).write_text("mine")
    artifacts.sweep(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_the_manifest_says_the_kind_beside_what_the_command_says(tmp_path):
    with outputs.output_folder(tmp_path / "out", outputs.GRAPH) as made:
        artifacts.write_json(made / "manifest.json", {"nodes": 7})
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == {"kind": "concept graph", "nodes": 7}


def test_a_failure_keeps_the_old_folder(tmp_path):
    out = written(tmp_path / "out", outputs.PREDICTIONS)
    before = tree(out)

    def work() -> None:
        with outputs.output_folder(out, outputs.PREDICTIONS, overwrite=True) as made:
            (made / "predictions.jsonl").write_text("half")
            raise RuntimeError("the work failed")

    with pytest.raises(RuntimeError):
        work()
    assert tree(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
