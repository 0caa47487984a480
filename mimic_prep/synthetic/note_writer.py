"""Discharge summaries in the layout of MIMIC-IV-Note.

The sections known at admission contain symptoms, signs, history and home medicines; only the hospital course and the
discharge diagnosis name the diagnoses. A condition whose channel excludes notes leaves no trace before the hospital
course.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mimic_prep.synthetic.hospital import Hospital
from mimic_prep.synthetic.patients import Admission, Episode, Patient
from mimic_prep.synthetic.physiology import Trajectory

_TYPO = 0.006  # share of words with two letters swapped
_NO_NEW = 0.25  # chance that a patient has no extra, unspecific complaint
_WORTH_TREATING = 0.4  # acuity from which a chronic condition is treated in hospital
_SERVICES = ("MEDICINE", "SURGERY", "CARDIOTHORACIC", "NEUROLOGY")


@dataclass(frozen=True)
class GeneratedNote:
    """The text of a discharge summary and the terms written about each condition, by condition key.

    ``allergy`` is what its list of allergies says.
    """

    text: str
    allergy: str = ""
    evidence: dict[str, list[str]] = field(default_factory=dict)


class _Writer:
    """Draws wordings and records the terms written about each condition."""

    def __init__(self, hospital: Hospital, rng: np.random.Generator) -> None:
        self.lexicon = hospital.lexicon
        self.rng = rng
        self.evidence: dict[str, list[str]] = {}

    def one(self, choices: list[str]) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def some(self, choices: list[str], low: int, high: int) -> list[str]:
        """Between ``low`` and ``high`` different choices, in random order."""
        count = min(len(choices), int(self.rng.integers(low, high + 1)))
        return [choices[i] for i in self.rng.permutation(len(choices))[:count]]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def symptom(self, term: str) -> str:
        return self.one(self.lexicon.symptoms[term])

    def note(self, episode: Episode, term: str) -> None:
        self.evidence.setdefault(episode.condition.key, []).append(term)


def listing(items: list[str], last: str = "and") -> str:
    """Join as prose.

    >>> listing(["cough", "fever", "rash"], "or")
    'cough, fever or rash'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


def write_note(
    hospital: Hospital,
    patient: Patient,
    admission: Admission,
    body: Trajectory | None,
    devices: set[str],
    rng: np.random.Generator,
) -> GeneratedNote:
    """Write the discharge summary of an admission."""
    writer = _Writer(hospital, rng)
    lexicon = hospital.lexicon
    episodes = [e for e in admission.episodes if e.note]
    symptoms = _symptoms(writer, episodes)
    history = _history(writer, episodes)
    medicines = _medicines(writer, episodes)
    complaint = [writer.symptom(term) for term in symptoms[:2]]
    done = [text for device, text in lexicon.procedures.items() if device in devices]
    social = [writer.one(lexicon.social)]
    if patient.factors["lung"] > 0.4:
        social.append(writer.one(lexicon.smoking))
    if patient.factors["liver"] > 1.0:
        social.append(writer.one(lexicon.drinking))
    sections = [
        ("Chief Complaint", "\n".join(complaint)),
        ("Major Surgical or Invasive Procedure", "\n".join(done) or "None"),
        ("History of Present Illness", _present_illness(writer, patient, episodes, symptoms, history)),
        ("Past Medical History", _past_history(writer, history)),
        ("Social History", " ".join(social)),
        ("Family History", writer.one(lexicon.family)),
        (
            "Physical Exam",
            f"ADMISSION PHYSICAL EXAM:\n{_exam(writer, episodes)}\n\nDISCHARGE PHYSICAL EXAM:\n{_exam(writer, [])}",
        ),
        ("Pertinent Results", _results(body)),
        ("Brief Hospital Course", _course(writer, hospital, admission)),
        ("Medications on Admission", medicines),
        ("Discharge Medications", medicines),
        (
            "Discharge Disposition",
            "Expired" if admission.died else writer.one(["Home", "Extended Care", "Home With Service"]),
        ),
        ("Discharge Diagnosis", _diagnoses(writer, admission)),
        ("Discharge Condition", "Expired" if admission.died else writer.one(lexicon.condition)),
        ("Discharge Instructions", writer.one(lexicon.instructions)),
        ("Followup Instructions", "___"),
    ]
    service, allergy = writer.one(list(_SERVICES)), writer.one(lexicon.allergies)
    head = (
        " \nName:  ___                     Unit No:   ___\n \nAdmission Date:  ___              Discharge Date:   ___\n"
        f" \nDate of Birth:  ___             Sex:   {patient.sex}\n \nService: {service}\n"
        f" \nAllergies: \n{allergy}\n \nAttending: ___.\n"
    )
    text = head + "".join(f" \n{name}:\n{_typos(writer, content)}\n" for name, content in sections)
    return GeneratedNote(
        text=text, allergy=allergy, evidence={key: sorted(set(terms)) for key, terms in writer.evidence.items()}
    )


def _symptoms(writer: _Writer, episodes: list[Episode]) -> list[str]:
    """The patient's complaints, acute conditions first; unspecific ones occur for any patient.

    The order does not depend on severity: decoys must read like the conditions they imitate.
    """
    complaints: list[str] = []
    shuffled = [episodes[i] for i in writer.rng.permutation(len(episodes))]
    for episode in sorted(shuffled, key=lambda e: e.condition.chronic):
        options = episode.condition.symptoms
        if not options or (episode.condition.history and episode.condition.chronic and writer.chance(0.35)):
            continue
        for term in writer.some(options, 1, 2) if len(options) > 1 else options:
            writer.note(episode, term)
            complaints.append(term)
    general = writer.some(writer.lexicon.general_complaints, 1, 2)
    if not complaints:
        return general
    merged = [*complaints[:1], *complaints[1:], *([] if writer.chance(_NO_NEW) else general[:1])]
    return list(dict.fromkeys(merged))


def _history(writer: _Writer, episodes: list[Episode]) -> list[str]:
    """Names in the past history: most chronic conditions; some show only by a medicine or a finding."""
    named = []
    for episode in episodes:
        other_trace = bool(episode.condition.home)
        if episode.condition.history and (not other_trace or writer.chance(0.78)):
            wording = writer.one(episode.condition.history)
            writer.note(episode, wording)
            named.append(wording)
    return [named[i] for i in writer.rng.permutation(len(named))]


def _medicines(writer: _Writer, episodes: list[Episode]) -> str:
    """The preadmission list. A condition that is missing in the past history is always included here."""
    lines = []
    for episode in episodes:
        unnamed = episode.condition.history and not writer.evidence.get(episode.condition.key)
        if episode.condition.home and (unnamed or writer.chance(0.6)):
            for medicine in writer.some(episode.condition.home, 1, 1 if writer.chance(0.7) else 2):
                writer.note(episode, medicine)
                lines.append(medicine)
    lines += writer.some(writer.lexicon.other_medicines, 0, 2)
    lines = list(dict.fromkeys(lines))
    if not lines:
        return writer.one(writer.lexicon.no_medicines)
    lead = "The Preadmission Medication list is accurate and complete.\n" if writer.chance(0.4) else ""
    return lead + "\n".join(
        f"{i}. {line}" for i, line in enumerate((lines[j] for j in writer.rng.permutation(len(lines))), 1)
    )


def _present_illness(
    writer: _Writer, patient: Patient, episodes: list[Episode], symptoms: list[str], history: list[str]
) -> str:
    lexicon = writer.lexicon
    female = patient.sex == "F"
    background = writer.one(lexicon.no_background)
    if history and writer.chance(0.8):
        background = writer.one(lexicon.background).format(list=listing(history[:3]))
    duration = writer.one(lexicon.duration)
    sentences = [
        writer.one(lexicon.opening).format(
            who=writer.one(["woman", "female", "F"] if female else ["man", "male", "M"]),
            title="Ms." if female else "Mr.",
            background=background,
            presenting=listing([writer.symptom(term) for term in symptoms[:2]]),
            duration=duration,
        )
    ]
    subject = writer.one(["She", "Pt", "The patient"] if female else ["He", "Pt", "The patient"])
    if symptoms[2:]:
        further = listing([writer.symptom(term) for term in symptoms[2:6]])
        sentences.append(writer.one(lexicon.further).format(subject=subject, list=further))
    possible = {term for episode in episodes for term in episode.condition.symptoms} | set(symptoms)
    absent = [term for term in lexicon.denied if term not in possible]
    denied = listing([writer.symptom(term) for term in dict.fromkeys(writer.some(absent, 2, 4))], "or")
    sentences.append(writer.one(lexicon.denial).format(subject=subject, list=denied))
    sentences.append(writer.one(lexicon.setting))
    return " ".join(sentences)


def _past_history(writer: _Writer, history: list[str]) -> str:
    if not history:
        return writer.one(writer.lexicon.no_history)
    if writer.chance(0.3):
        return ", ".join(history)
    return "\n".join(f"{mark} {entry}" for mark, entry in zip(_marks(writer), history, strict=False))


def _marks(writer: _Writer) -> list[str]:
    return [f"{i}." for i in range(1, 30)] if writer.chance(0.5) else ["-"] * 29


def _exam(writer: _Writer, episodes: list[Episode]) -> str:
    """One phrase per organ system: signs, or a normal finding; the exam of a recovered patient has no signs."""
    signs: dict[str, list[str]] = {}
    for episode in episodes:
        options = episode.condition.signs
        if options and writer.chance(0.8):
            sign = writer.one(options)
            writer.note(episode, sign)
            entry = writer.lexicon.signs[sign]
            signs.setdefault(entry["system"], []).append(writer.one(entry["say"]))
    lines = []
    for system, words in writer.lexicon.systems.items():
        if system in signs:
            lines.append(f"{words['heading']}: {', '.join(dict.fromkeys(signs[system]))}")
        elif system not in ("neck", "skin"):
            lines.append(f"{words['heading']}: {writer.one(words['normal'])}")
    return "\n".join(lines)


def _results(body: Trajectory | None) -> str:
    """A few laboratory values at arrival, in the compact style of these notes."""
    if body is None:
        return "ADMISSION LABS:\n___"
    zero = np.zeros(1)
    row = {
        name: float(body.at(name, zero)[0])
        for name in ("wbc", "hemoglobin", "platelets", "sodium", "potassium", "creatinine")
    }
    return (
        f"ADMISSION LABS:\n___ BLOOD WBC-{row['wbc']:.1f} Hgb-{row['hemoglobin']:.1f} Plt ___\n"
        f"___ BLOOD Creat-{row['creatinine']:.1f} Na-{row['sodium']:.0f} K-{row['potassium']:.1f}"
    )


def _main_episodes(admission: Admission) -> list[Episode]:
    return sorted(admission.episodes, key=lambda e: (e.condition.chronic, -e.condition.acuity * e.severity))


def _course(writer: _Writer, hospital: Hospital, admission: Admission) -> str:
    lexicon = writer.lexicon
    paragraphs = []
    for episode in _main_episodes(admission):
        condition = episode.condition
        name = episode.name
        if condition.chronic and condition.acuity < _WORTH_TREATING:
            paragraphs.append(writer.one(lexicon.course_chronic).format(name=name))
            continue
        terms = [t for t in writer.evidence.get(condition.key, []) if t in lexicon.symptoms]
        evidence = f"Presented with {listing([writer.symptom(t) for t in terms[:2]])}. " if terms else ""
        drugs = f" with {listing(writer.some(condition.treatment, 1, 2))}" if condition.treatment else ""
        fair = condition.chronic or episode.response > 0.2
        outcome = "good" if episode.response > 0.45 else "fair" if fair else "poor"
        response = lexicon.response[outcome]
        sentence = writer.one(lexicon.course)
        paragraphs.append(sentence.format(name=name, evidence=evidence, drugs=drugs, response=response))
    present = {e.condition.key for e in admission.episodes}
    absent = [c for c in hospital.conditions.values() if c.is_phenotype and c.key not in present and not c.chronic]
    if absent and writer.chance(0.6):
        excluded = absent[int(writer.rng.integers(len(absent)))]
        paragraphs.append(writer.one(lexicon.ruled_out).format(name=writer.one(excluded.all_names())))
    return "\n\n".join(paragraphs) or "Observed without incident and discharged."


def _diagnoses(writer: _Writer, admission: Admission) -> str:
    names = [e.name for e in _main_episodes(admission)]
    return "\n".join(names[:10]) or "Observation"


def _typos(writer: _Writer, text: str) -> str:
    """Swap two inner letters of some words, like typing errors."""
    words = text.split(" ")
    for position in np.flatnonzero(writer.rng.random(len(words)) < _TYPO):
        word = words[position]
        if len(word) > 5 and word.isalpha():
            cut = 1 + int(writer.rng.integers(len(word) - 3))
            words[position] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words)
