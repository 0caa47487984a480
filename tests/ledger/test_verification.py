"""Verification: honest ledgers raise no alarm, attacks are found and the first bad entry is named."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import pytest
from attacks import MUTATIONS, Files, edited, fork, verdict
from consortium import Consortium, digest, key_of
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.artifacts import sha256_file
from clinragen.errors import UserError
from clinragen.ledger.entries import Aggregate, Entry, Part, Update, stated
from clinragen.ledger.folder import LogFolder, UnsoundError
from clinragen.ledger.log import Log
from clinragen.ledger.payments import due
from clinragen.ledger.proofs import Proof, check, prove_consistency, prove_inclusion
from clinragen.ledger.verification import verify
from clinragen.signing import Note


@pytest.fixture(scope="module")
def consortium(tmp_path_factory):
    made = Consortium(tmp_path_factory.mktemp("consortium"))
    made.play(4)
    return made


def verified(consortium, **options):
    networks = [party.log.path for party in consortium.logs]
    return verify(consortium.main.log.path, trust=consortium.main.trust, networks=networks, **options)


def test_an_honest_ledger_is_sound_and_says_what_it_does_not_prove(consortium):
    report = verified(consortium)
    assert report.size == report.witnessed == len(consortium.main.log.tree)
    assert report.kinds["aggregate"] == 4
    assert report.unpaid == ()
    assert any("honest" in statement for statement in report.unproven)
    assert not any("--trust" in statement for statement in report.unproven)
    alone = verify(consortium.main.log.path)
    assert any("--trust" in statement for statement in alone.unproven)
    assert any("--network" in statement for statement in alone.unproven)


@settings(max_examples=6)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 99))
def test_no_alarm_for_honest_logs_of_any_shape(tmp_path_factory, networks, quorum, period, seed):
    made = Consortium(tmp_path_factory.mktemp("shape"), tuple(networks), 3, quorum, period, seed)
    made.play(seed % 4)
    assert verified(made).size == len(made.main.log.tree)


@settings(max_examples=12)
@pytest.mark.parametrize("attack", [*MUTATIONS.values(), fork])
@given(seed=st.integers(0, 10**6))
def test_an_attack_is_found_and_the_first_bad_entry_named(consortium, tmp_path_factory, attack, seed):
    done, error = verdict(consortium, attack, tmp_path_factory.mktemp("scratch"), seed)
    assert error is not None, done
    assert done.named(error), (done, error)


def test_an_edited_payment_is_named_though_everybody_signed_it(consortium, tmp_path):
    """The operator and all witnesses together raise a payment: no signature is wrong, the contract says otherwise."""
    copy = tmp_path / "log"
    shutil.copytree(consortium.main.log.path, copy)
    files = Files(copy)
    index = min(consortium.main.log.history.paid.values())
    number, row = files.spot(index)
    files.put(index, edited(files.lines[number][row], reward="99"))
    files.resign(consortium.main, since=index)
    files.write()
    with pytest.raises(UnsoundError, match=f"entry {index}: pays 99 for") as caught:
        verify(copy, trust=consortium.main.trust)
    assert (caught.value.first, caught.value.last) == (index, index)


def test_a_rewritten_network_is_found_by_its_anchor(consortium, tmp_path):
    """A network's operator and witnesses sign another history: the main log holds the checkpoint of the first."""
    party = consortium.logs[0]
    copy = tmp_path / "n0"
    shutil.copytree(party.log.path, copy)
    files = Files(copy)
    body = max(party.log.history.updates.values(), key=lambda recorded: recorded[0])[1]
    forged = stated(party.trust.origin, replace(body, count=body.count + 100), key_of(body.site))
    files.put(files.size - 1, forged.line(files.size - 1))
    files.resign(party, since=files.size - 1)
    files.write()
    assert verify(copy, trust=party.trust)  # alone it is sound
    with pytest.raises(UnsoundError, match="anchors") as caught:
        verify(consortium.main.log.path, trust=consortium.main.trust, networks=[copy, consortium.logs[1].log.path])
    assert caught.value.log == copy
    assert caught.value.first <= files.size - 1 <= caught.value.last


def test_an_aggregate_of_an_update_that_no_site_stated_is_found(tmp_path):
    made = Consortium(tmp_path, period=0)
    made.play(1)
    aggregate = made.main.log.history.aggregates[1][1]
    parts = [replace(part, count=part.count * 10) for part in aggregate.updates]
    made.main.log.append([Entry(replace(aggregate, round=2, parent=made.model, updates=parts))], made.main.key)
    made.main.cosigned()
    assert verify(made.main.log.path, trust=made.main.trust)  # without the networks' logs nobody can say
    with pytest.raises(UnsoundError, match=r"round 2: .* stated no update") as caught:
        verified(made)
    assert caught.value.first == caught.value.last == made.main.log.history.aggregates[2][0]


def test_an_update_counts_only_once_it_is_anchored(tmp_path):
    made = Consortium(tmp_path, networks=(1,), period=0)
    party, key = made.logs[0], made.sites[0][0]
    late = Update(key.name, 1, made.model, digest("late"), 30)
    party.log.append([stated(party.trust.origin, late, key)], party.key)
    party.cosigned()
    part = {"site": key.name, "update": late.update, "count": 30}
    made.main.log.append([Entry(Aggregate(1, made.model, digest("m"), [Part(**part)]))], made.main.key)
    made.main.log.append([Entry(made.main.log.anchor(party.log))], made.main.key)
    made.main.cosigned()
    with pytest.raises(UnsoundError, match="stated no update that is in a log before it"):
        verified(made)


def test_what_is_not_witnessed_is_refused_unless_it_is_allowed(tmp_path):
    made = Consortium(tmp_path)
    size = len(made.main.log.tree)
    made.main.log.append([Entry(made.contract)], made.main.key)
    with pytest.raises(UnsoundError, match="cosigned by the 2 witnesses") as caught:
        verified(made)
    assert caught.value.first == size
    assert verified(made, unwitnessed=True).witnessed == size
    made.main.cosigned(1)
    with pytest.raises(UnsoundError, match="cosigned by the 2 witnesses"):
        verified(made)
    made.main.cosigned()
    assert verified(made).witnessed == size + 1


def test_files_of_aggregates_are_hashed(tmp_path):
    made = Consortium(tmp_path, period=0)
    made.play(1)
    model = tmp_path / "model"
    model.write_bytes(b"weights")
    parts = made.main.log.history.aggregates[1][1].updates
    made.main.log.append([Entry(Aggregate(2, made.model, sha256_file(model), parts))], made.main.key)
    report = verify(made.main.log.path, trust=made.main.trust, unwitnessed=True, aggregates={2: model})
    assert report.aggregates == (2,)
    model.write_bytes(b"others")
    with pytest.raises(UnsoundError, match="is not the model after round 2") as caught:
        verify(made.main.log.path, unwitnessed=True, aggregates={2: model})
    assert caught.value.first == made.main.log.history.aggregates[2][0]
    with pytest.raises(UserError, match="no aggregate of round 3"):
        verify(made.main.log.path, unwitnessed=True, aggregates={3: model})


def test_an_unpaid_period_is_told(tmp_path):
    made = Consortium(tmp_path)
    made._pay = lambda: None  # type: ignore[method-assign]
    made.play(2)
    assert {site for site, _, first in verified(made).unpaid if first == 1} <= set(made.items)
    assert verified(made).unpaid


def test_a_truncated_log_is_sound_by_itself_and_not_to_one_who_remembers(consortium, tmp_path):
    folder = LogFolder(consortium.main.log.path)
    newest = Note.parse(folder.note(folder.sizes()[-1]))
    copy = tmp_path / "log"
    shutil.copytree(consortium.main.log.path, copy)
    before = folder.sizes()[-2]
    for path in copy.rglob("*.*"):
        if int(path.stem) >= before and (path.suffix == ".batch" or int(path.stem) > before):
            path.unlink()
    assert verify(copy, trust=consortium.main.trust).size == before
    with pytest.raises(UnsoundError, match=f"entry {before}: it is missing") as caught:
        verify(copy, trust=consortium.main.trust, remembered=[newest])
    assert caught.value.first == before


@given(st.data())
@settings(max_examples=10)
def test_proofs_are_checked_with_the_keys_alone(consortium, data):
    log, trust = consortium.main.log, consortium.main.trust
    size = len(log.tree)
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(log, index)
    proven = check(proof, trust)
    assert (proven.index, proven.checkpoint) == (index, log.checkpoint)
    earlier = Note.parse(log.folder.note(data.draw(st.sampled_from(log.folder.sizes()))))
    consistency = prove_consistency(log, earlier)
    shown = check(consistency, trust, earlier).earlier
    assert shown
    assert shown.size <= size
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
    for wrong in (
        replace(proof, index=other),
        replace(proof, entry=prove_inclusion(log, other).entry),
        replace(proof, hashes=[*proof.hashes, proof.hashes[0]]),
        replace(proof, hashes=proof.hashes[::-1] if proof.hashes != proof.hashes[::-1] else []),
        replace(proof, checkpoint=str(log.checkpoints[size])),  # without witnesses
        replace(consistency, earlier=str(replace(earlier, text=earlier.text.replace("\n", "\n1", 1)))),
        replace(consistency, hashes=[*consistency.hashes, proof.hashes[0]]),
    ):
        with pytest.raises(UserError):
            check(wrong, trust)
    with pytest.raises(UserError):
        check(proof, consortium.logs[0].trust)


def test_a_proof_is_for_the_checkpoint_that_one_has(consortium, tmp_path):
    log, trust = consortium.main.log, consortium.main.trust
    sizes = log.folder.sizes()
    older = Note.parse(log.folder.note(sizes[0]))
    prove_inclusion(log, 3).write(tmp_path / "proof.json")
    proof = Proof.read(tmp_path / "proof.json")
    assert check(proof, trust, Note.parse(log.folder.note(sizes[-1]))).index == 3
    with pytest.raises(UserError, match="another checkpoint"):
        check(proof, trust, older)
    with pytest.raises(UserError, match="another checkpoint"):
        check(prove_consistency(log, older), trust, Note.parse(log.folder.note(sizes[1])))
    with pytest.raises(UserError, match="has no entry 999"):
        prove_inclusion(log, 999)


@given(st.integers(0, 30), st.integers(1, 12), st.decimals(0, 10**6, places=4), st.integers(0, 6))
def test_payments_never_exceed_the_reward_and_grow_with_what_is_delivered(
    consortium, delivered, promised, reward, decimals
):
    item = replace(consortium.contract.items[0], frequency=str(promised), reward=format(reward.normalize(), "f"))
    contract = replace(consortium.contract, items=[item], decimals=decimals)
    paid = due(contract, item, delivered)
    assert float(paid) <= float(reward) + 1e-9
    assert float(paid) <= float(due(contract, item, delivered + 1)) + 1e-9
    assert len(paid.partition(".")[2]) <= decimals
    if delivered >= promised:
        assert abs(float(paid) - float(reward)) < 10**-decimals


def test_foreign_files_and_folders_are_named(consortium, tmp_path):
    with pytest.raises(UserError, match="holds no log"):
        verify(tmp_path)
    copy = tmp_path / "log"
    shutil.copytree(consortium.main.log.path, copy)
    (copy / "batches" / "notes.txt").write_text("x")
    with pytest.raises(UnsoundError, match=r"notes\.txt' is no file of a log"):
        verify(copy)
    with pytest.raises(UserError, match="does not name as a network"):
        verify(consortium.logs[0].log.path, networks=[consortium.logs[1].log.path])


def test_each_attack_does_what_it_says(consortium, tmp_path):
    """Each changes or removes files: an attack that does nothing would not be found."""
    for name, attack in [*MUTATIONS.items(), ("fork", fork)]:
        copy = tmp_path / name.replace(" ", "-")
        shutil.copytree(consortium.main.log.path, copy)
        attack(consortium.main, copy, random.Random(5))
        before = {path.name: path.read_bytes() for path in consortium.main.log.path.rglob("*.*")}
        assert {path.name: path.read_bytes() for path in copy.rglob("*.*")} != before


@pytest.fixture
def rewritten(consortium, tmp_path):
    """A copy whose last aggregate, one of several entries of its batch, is another; and the index of it."""
    copy = tmp_path / "log"
    shutil.copytree(consortium.main.log.path, copy)
    index = consortium.main.log.history.aggregates[4][0]
    files = Files(copy)
    number, row = files.spot(index)
    assert len(files.lines[number]) > 1
    files.lines[number][row] = edited(files.lines[number][row], aggregate=digest("another"))
    return files, number, row, index


def test_a_line_that_is_not_what_its_hash_says_is_named_alone(rewritten):
    files, _, _, index = rewritten
    files.write()
    with pytest.raises(UnsoundError, match="its hash is not the one beside it") as caught:
        Log(files.path)
    assert (caught.value.first, caught.value.last) == (index, index)


def test_a_rewritten_line_with_its_hash_repaired_is_found_without_any_witness(rewritten):
    files, number, row, index = rewritten
    files.put(index, files.lines[number][row])
    files.write()
    with pytest.raises(UnsoundError, match="the signed root is another") as caught:
        Log(files.path)
    assert (caught.value.first, caught.value.last) == (files.batches[number].first, files.batches[number].size - 1)


def test_a_log_that_names_another_quorum_than_the_trusted_one_is_refused_at_its_opening(consortium):
    stricter = replace(consortium.main.trust, quorum=3)
    with pytest.raises(UnsoundError, match="another quorum than those to trust") as caught:
        Log(consortium.main.log.path, stricter)
    assert (caught.value.first, caught.value.last) == (0, 0)


def test_a_cosigned_checkpoint_of_another_history_is_evidence_of_a_fork(consortium, tmp_path):
    """Operator and witnesses signed two states of the same size; one is in the folder, the other are its entries."""
    party = consortium.main
    copy = tmp_path / "log"
    shutil.copytree(party.log.path, copy)
    note = Note(replace(party.log.checkpoint, root=bytes(32)).text).signed(party.key)
    for witness in party.witnesses:
        note = note.cosigned(witness, 1_800_000_000)
    size = len(party.log.tree)
    (copy / "checkpoints" / f"{size:012}.note").write_text(str(note))
    with pytest.raises(UnsoundError, match="a fork") as caught:
        verify(copy, trust=party.trust)
    assert caught.value.last == size - 1
