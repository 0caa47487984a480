"""Every concept that a note names, and what the note says of it there."""

from __future__ import annotations

from whole_graph import LINKER

from clinragen.chart.note_mentions import note_mentions, standing

NOTE = [
    ("history_of_present_illness", "Fever since noon. Denies chest pain. Return if you have melena."),
    ("past_medical_history", "COPD"),
    ("family_history", "Father with diabetes."),
]


def test_a_note_affirms_denies_or_leaves_open():
    read = [(one.position, one.section, one.text[one.mention.start : one.mention.end], one.standing)
            for one in note_mentions(NOTE, LINKER)]  # fmt: skip
    assert read == [
        (0, "history_of_present_illness", "Fever", "affirmed"),
        (0, "history_of_present_illness", "chest pain", "denied"),
        (0, "history_of_present_illness", "melena", "open"),
        (1, "past_medical_history", "COPD", "affirmed"),
        (2, "family_history", "diabetes", "open"),
    ]


def test_every_mention_has_one_of_three_standings():
    contexts = {mention.context: standing(mention) for _, _, _, mention in note_mentions(NOTE, LINKER)}
    assert contexts == {
        "affirmed": "affirmed",
        "historical": "affirmed",
        "negated": "denied",
        "hypothetical": "open",
        "family": "open",
    }
