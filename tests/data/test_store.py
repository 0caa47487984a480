"""The token store contains patient text: only its owner can read it, and it is removed with the last run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clinragen.data.store import private_store, stored


def modes(folder: Path) -> set[str]:
    """Who else may do what with anything in a folder."""
    return {oct(path.stat().st_mode & 0o077) for path in (folder, *folder.rglob("*"))}


def make() -> dict[str, np.ndarray]:
    return {"notes": np.arange(7)}


def test_only_its_owner_can_read_it_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with private_store(tmp_path / ".tokens") as store:
            assert stored(store, "origin", make)["notes"].tolist() == list(range(7))
            assert len(list(store.rglob("*.npy"))) == 1
            assert modes(store) == {"0o0"}
    finally:
        os.umask(before)


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path):
    (tmp_path / ".tokens").mkdir(mode=0o755)
    with private_store(tmp_path / ".tokens") as store:
        assert store.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("end", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_gone_when_the_run_ends_however_it_ends(tmp_path, end):
    try:
        with private_store(tmp_path / ".tokens") as store:
            stored(store, "origin", make)
            if end:
                raise end
    except (ValueError, KeyboardInterrupt, SystemExit):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_read_by_the_next_and_then_removed(tmp_path):
    killed = (
        "import os, signal, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from clinragen.data.store import private_store, stored\n"
        "with private_store(Path(sys.argv[1])) as store:\n"
        "    stored(store, 'origin', lambda: {'notes': np.arange(7)})\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path / ".tokens")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / ".tokens").rglob("notes.npy"))
    with private_store(tmp_path / ".tokens") as store:
        assert stored(store, "origin", lambda: pytest.fail("made twice"))["notes"].tolist() == list(range(7))
    assert list(tmp_path.iterdir()) == []


def test_what_an_older_version_left_is_removed_too(tmp_path):
    (tmp_path / ".tokens" / "0123").mkdir(parents=True)
    np.save(tmp_path / ".tokens" / "0123" / "notes.npy", np.arange(3))
    with private_store(tmp_path / ".tokens"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_last_of_several_runs_removes_it(tmp_path):
    with private_store(tmp_path / ".tokens") as store:
        stored(store, "origin", make)
        with private_store(tmp_path / ".tokens"):
            pass
        assert stored(store, "origin", lambda: pytest.fail("made twice"))["notes"].tolist() == list(range(7))
    assert not (tmp_path / ".tokens").exists()


def test_runs_that_come_and_go_at_once_all_find_a_store(tmp_path):
    """Each enters, writes and leaves many times; one that entered a folder in the moment of its removal would fail."""
    busy = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from clinragen.data.store import private_store, stored\n"
        "for turn in range(40):\n    with private_store(Path(sys.argv[1])) as store:\n"
        "        assert stored(store, turn % 3, lambda: {'notes': np.arange(7)})['notes'].sum() == 21\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", busy, str(tmp_path / ".tokens")]) for _ in range(3)]
    deadline = time.monotonic() + 120
    assert [run.wait(timeout=deadline - time.monotonic()) for run in runs] == [0, 0, 0]
    assert not (tmp_path / ".tokens").exists()


def test_a_folder_that_is_removed_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    make, tried = Path.mkdir, []

    def removed_meanwhile(self, *arguments, **options):
        tried.append(self)
        if len(tried) == 1:  # mkdir finds the folder, and looks at it after the last run has removed it
            raise FileExistsError(self)
        make(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", removed_meanwhile)
    with private_store(tmp_path / ".tokens") as store:
        assert store.is_dir()
    assert len(tried) == 2
    monkeypatch.undo()
    (tmp_path / ".tokens").write_text("a file")
    with pytest.raises(FileExistsError), private_store(tmp_path / ".tokens"):
        raise AssertionError


def test_no_tokens_stay_behind_after_training(runs):
    assert not (runs.root / ".tokens").exists()
