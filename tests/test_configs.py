"""Every shipped YAML file loads through the code that reads it, and none is left without a reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinragen.catalog import read_data_file
from clinragen.config import CONFIG_ROOT, build, load, load_yaml, names

#: Groups read by code other than the dataclasses below; their readers are tried in this file or in tests of their own.
FILES = sorted(str(path.relative_to(CONFIG_ROOT)) for path in CONFIG_ROOT.rglob("*.yaml"))


#: Data with more nodes than OmegaConf takes; no setting is read from them.
LARGE = ["concepts/drug_classes.yaml"]


@pytest.mark.parametrize("file", FILES)
def test_it_is_a_mapping(file):
    content = (read_data_file if file in LARGE else load_yaml)(CONFIG_ROOT / file)
    assert content
    assert isinstance(content, dict)


@pytest.mark.parametrize("name", names("model"))
def test_model_presets(name):
    from clinragen.model.config import ModelConfig

    config = load("model", name, ModelConfig)
    config.check(name)
    assert bool(config.language_model.scratch) != bool(config.language_model.name)


@pytest.mark.parametrize("name", names("stage"))
def test_stages(name):
    from clinragen.choices import WITHOUT_STUDENT
    from clinragen.stages.config import REFINE, STAGES, resolve

    config = resolve(name, "tiny", "evidence", [])
    other = config.stage.mixture is not None or config.stage.align is not None
    assert other or name in (*WITHOUT_STUDENT, *STAGES, REFINE)
    assert config.stage.parent in (None, *STAGES)


@pytest.mark.parametrize("name", names("trainer"))
def test_trainers(name):
    from clinragen.stages.config import resolve

    resolve("notes", "tiny", "evidence", [], name)


@pytest.mark.parametrize("name", names("protocol"))
def test_protocols(name):
    from mimic_prep import protocol

    assert protocol.load(name).name == name


@pytest.mark.parametrize("name", names("contract"))
def test_contracts(name):
    from clinragen.contracts import settings

    settings.load(name)


def test_demo():
    from clinragen.demo import DemoConfig, steps
    from clinragen.stages.config import STAGES, resolve

    config = build(DemoConfig, load_yaml(CONFIG_ROOT / "demo.yaml"), "demo.yaml")
    assert set(config.stages) <= set(STAGES)
    for stage in STAGES:
        resolve(stage, config.model, "evidence", config.stages.get(stage, []))
    programs = [command[:2] for _, command in steps(config, Path("out"))]
    assert programs[0] == ["mimic-prep", "synthesize"]
    assert programs[-1] == ["clinragen", "report"]


def test_the_demo_types_commands_that_exist():
    """Each step parses with the parser of its own command."""
    from clinragen import cli
    from clinragen.demo import DemoConfig, steps
    from mimic_prep import cli as prep_cli

    programs = {"clinragen": cli.PROGRAM, "mimic-prep": prep_cli.PROGRAM}

    config = build(DemoConfig, load_yaml(CONFIG_ROOT / "demo.yaml"), "demo.yaml")
    for _, command in steps(config, Path("out")):
        programs[command[0]].parse(command[1:])


def test_concepts():
    from clinragen.catalog import phenotypes, variables

    assert len(phenotypes()) == 25
    assert len(variables()) >= 60


def test_knowledge():
    from clinragen.knowledge.graph import build as build_graph
    from clinragen.knowledge.linker import Linker

    Linker(build_graph())


@pytest.mark.parametrize("name", names("federation"))
def test_federations(name):
    from clinragen.federation.manifest import FederationSettings
    from clinragen.federation.work import open_work

    settings = load("federation", name, FederationSettings)
    settings.rule.check()
    phases = open_work(settings.work, settings.settings).phases()
    assert {phase.kind for phase in phases} == {"statistics", "training"}
