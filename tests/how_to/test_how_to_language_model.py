"""The language model that docs/how-to adds, followed from the page."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

from clinragen import config

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-language-model.md").read_text(encoding="utf-8")


def test_one_file_is_all_of_it(hospital, llama, command, tmp_path: Path, monkeypatch) -> None:
    where, text = re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    assert Path(where).parent == Path("configs/model")
    shutil.copytree(config.CONFIG_ROOT, tmp_path / "configs")
    (tmp_path / where).write_text(text.replace("PATH/TO/WARD-LM", str(llama)), encoding="utf-8")
    monkeypatch.setattr(config, "CONFIG_ROOT", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)[0].splitlines()
    assert len(lines) == 2
    for line in lines:
        program, *words = shlex.split(line.replace("COHORT", str(hospital.cohort)))
        assert command(program, *words) == 0
    described = json.loads((tmp_path / "outputs" / "ward" / "model" / "clinragen.json").read_text())
    assert described["config"]["language_model"]["name"] == str(llama)
