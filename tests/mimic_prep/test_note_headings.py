"""For any style of headings, the hospital course is never read as what was known at admission."""

from __future__ import annotations

import pytest

from mimic_prep.sections import KNOWN_AT_ADMISSION, discharge_sections

COURSE = "She was found to have zoster encephalitis and was treated with acyclovir."

#: ways to write the heading of the hospital course; {} is where its text goes
WAYS = {
    "caps by issue and system": "HOSPITAL COURSE BY ISSUE/SYSTEM:\n{}",
    "course by organ system": "Hospital Course by Organ System:\n{}",
    "words turned around": "COURSE IN THE HOSPITAL: {}",
    "course alone": "COURSE: {}",
    "no colon, caps": "HOSPITAL COURSE\n{}",
    "no colon, title case": "Brief Hospital Course\n{}",
    "no colon, lower case": "hospital course\n{}",
    "lower case": "hospital course: {}",
    "one line, caps, no separator": "HOSPITAL COURSE {}",
    "dash": "HOSPITAL COURSE - {}",
    "long dash": "Hospital Course \u2014 {}",
    "full stop": "HOSPITAL COURSE. {}",
    "semicolon": "Hospital course; {}",
    "two colons": "HOSPITAL COURSE:: {}",
    "dots": "HOSPITAL COURSE..... {}",
    "blank before the colon": "HOSPITAL COURSE   : {}",
    "parentheses": "HOSPITAL COURSE (by problem): {}",
    "long parentheses": "HOSPITAL COURSE (dictated by the intern on call, amended by the attending of record): {}",
    "comma": "Hospital course, by problem: {}",
    "ampersand": "HOSPITAL COURSE & TREATMENT: {}",
    "slash": "EVENTS/HOSPITAL COURSE: {}",
    "date mark": "HOSPITAL COURSE [**2150-1-3**]: {}",
    "name mark": "[**Hospital1 18**] COURSE: {}",
    "removed mark": "___ COURSE: {}",
    "mark without words": "[** **] Hospital Course: {}",
    "markdown": "## Hospital Course\n{}",
    "asterisks": "**Hospital Course**\n{}",
    "asterisks with colon": "**HOSPITAL COURSE:** {}",
    "equals signs": "== HOSPITAL COURSE ==\n{}",
    "underlined with equals signs": "Hospital course\n=================\n{}",
    "underlined with dashes": "What happened\n-------------\n{}",
    "square brackets": "[HOSPITAL COURSE]\n{}",
    "markup of a web page": "<b>Hospital Course</b>: {}",
    "numbered": "7. HOSPITAL COURSE: {}",
    "roman number": "VI. Hospital Course\n{}",
    "bracketed number": "(7) Hospital course: {}",
    "bullet": "\u2022 Hospital Course: {}",
    "number sign": "# Hospital Course: {}",
    "indented": "      Hospital Course:\n      {}",
    "tab": "HOSPITAL COURSE\t{}",
    "non-breaking blanks": "HOSPITAL\u00a0COURSE\u00a0BY\u00a0SYSTEMS:\u00a0{}",
    "full-width colon": "HOSPITAL COURSE\uff1a{}",
    "full-width letters": "\uff28\uff2f\uff33\uff30\uff29\uff34\uff21\uff2c \uff23\uff2f\uff35\uff32\uff33\uff25: {}",
    "hidden character": "HOS\u200bPITAL COURSE: {}",
    "turned reading direction": "\u202eHOSPITAL COURSE\u202c: {}",
    "zero byte": "HOSPITAL\x00 COURSE: {}",
    "letters apart": "H O S P I T A L   C O U R S E: {}",
    "underscores": "HOSPITAL_COURSE: {}",
    "words run together": "HOSPITALCOURSE: {}",
    "camel case": "HospitalCourse: {}",
    "misspelt": "HOPSITAL COARSE: {}",
    "misspelt without a colon": "Breif Hosptial Corse\n{}",
    "sentence as heading": "The patient's hospital course was as follows:\n{}",
    "sentence as heading, by system": "Hospital course will be summarized by system:\n{}",
    "sentence": "The hospital course was complicated. {}",
    "hospitalization": "SUMMARY OF HOSPITALIZATION: {}",
    "stay": "Hospital stay: {}",
    "unit": "MICU COURSE: {}",
    "abbreviated": "HOSP COURSE: {}",
    "initials": "BHC: {}",
    "after the operation": "POSTOPERATIVE COURSE: {}",
    "assessment": "ASSESSMENT AND PLAN: {}",
    "assessment, initials": "A/P: {}",
    "by systems": "BY SYSTEMS:\n{}",
    "issues": "ACTIVE ISSUES:\n{}",
    "problem": "# Altered mental status: {}",
    "numbered problem": "1. Respiratory failure: {}",
    "system of the course": "ID: {}",
    "unknown, caps": "EVOLUTION: {}",
    "unknown, title case, alone": "Clinical Narrative:\n{}",
    "unknown, title case, no colon": "Clinical Narrative\n{}",
    "addendum": "ADDENDUM: {}",
    "later exam": "PHYSICAL EXAM ON DISCHARGE (___): {}",
    "exam at transfer": "EXAM ON TRANSFER: {}",
    "both exams": "Physical exam, admission and discharge: {}",
    "both medications": "Medications on admission and discharge: {}",
    "history and course": "History of Present Illness and Hospital Course: {}",
}  # fmt: skip

_NOTE = """Admission Date:  [**2150-1-1**]     Discharge Date:  [**2150-1-9**]

Service: MEDICINE

CHIEF COMPLAINT:  Confusion.

PHYSICAL EXAMINATION:  Temperature 37.0, pulse 88.
Abdomen: soft

{}

DISCHARGE MEDICATIONS:  Acetaminophen.

MEDICATIONS ON ADMISSION:  Lisinopril.
"""


def _at_admission(text: str) -> dict[str, str]:
    return {name: body for name, body in discharge_sections(text).items() if name in KNOWN_AT_ADMISSION}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_head_the_course_lets_it_into_the_exam(way: str) -> None:
    found = _at_admission(_NOTE.format(WAYS[way].format(COURSE)))
    if way == "addendum":  # whose medicines are of a later time as well
        found["medications_on_admission"] = "Lisinopril."
    assert found == {
        "chief_complaint": "Confusion.",
        "admission_exam": "Temperature 37.0, pulse 88.\nAbdomen: soft",
        "medications_on_admission": "Lisinopril.",
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("section", ["HISTORY OF PRESENT ILLNESS", "Past Medical History", "Allergies"])
def test_nor_into_other_sections(way: str, section: str) -> None:
    text = f"{section}:\nKnown before.\n\n{WAYS[way].format(COURSE)}\n"
    assert "acyclovir" not in str(_at_admission(text))
    assert "Known before." in _at_admission(text).values()


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x0b", "\u2028", "\x85", "\\n"])
def test_line_ends_of_any_kind(end: str) -> None:
    text = _NOTE.format(f"HOSPITAL COURSE BY SYSTEM:\n{COURSE}").replace("\n", end)
    found = _at_admission(text)
    assert (found["chief_complaint"], found["medications_on_admission"]) == ("Confusion.", "Lisinopril.")
    assert "acyclovir" not in str(found)


def test_a_note_whose_line_breaks_were_lost() -> None:
    text = " ".join(_NOTE.format(f"HOSPITAL COURSE BY SYSTEM: {COURSE}").split())
    assert _at_admission(text) == {
        "chief_complaint": "Confusion.",
        "admission_exam": "Temperature 37.0, pulse 88. Abdomen: soft",
        "medications_on_admission": "Lisinopril.",
    }


@pytest.mark.parametrize(
    "heading",
    [
        "CONCISE SUMMARY OF HOSPITAL COURSE BY ISSUE/SYSTEM:", "HOSPITAL COURSE BY SYSTEM:", "Hospital Course",
        "== BRIEF HOSPITAL COURSE ==", "7. Hospital course (by problem):", "Breif Hospital Course:",
    ],
)  # fmt: skip
def test_a_retrospective_protocol_finds_the_course(heading: str) -> None:
    assert discharge_sections(_NOTE.format(f"{heading}\n{COURSE}"))["brief_hospital_course"] == COURSE


@pytest.mark.parametrize(
    "line",
    [
        "Pain: 5/10", "Neuro: alert", "NEURO: alert and oriented", "VS: 98.6 120/80 88 18 97% RA", "GENERAL: NAD",
        "HEENT:\nanicteric", "Cardiac:\nregular, no murmur", "II, III: pupils equal", "Strength:\nfull",
        "- Lungs: clear", "* CV: RRR", "Extremities:   warm, no edema", "Right leg: amputated", "I/O: 1200/800",
        "Nasal discharge: none", "Skin: purulent discharge from wound", "Vent settings: AC 500 x 14, PEEP 5",
        "Mental status: sleepy, and he was oriented to name only", "Stoma: pink", "Neck: supple, no JVD; Chest: clear",
        "CNII: full fields", "NIHSS: 4", "Upon arrival to the MICU: drowsy", "GCS: 15", "Lines: none",
        "Peripheral Vascular: (Right radial pulse: Present)", "-Cranial Nerves:", "Bi Tri Bra Pat Ach",
        "Of note: bruises of both arms", "T: 37.0  BP: 120/80  HR: 88", "Cranial Nerves\nII: full fields",
    ],
)  # fmt: skip
def test_parts_of_an_exam_stay_in_it(line: str) -> None:
    found = _at_admission(f"PHYSICAL EXAM:\nAwake.\n{line}\nGait: steady\n\nPertinent Results:\nnone\n")
    words = found["admission_exam"].split()
    assert words == f"Awake. {line} Gait: steady".split()


@pytest.mark.parametrize(
    ("section", "body"),
    [
        ("Medications on Admission", "Lasix 40 mg daily: for swelling\nAspirin: 81 mg\n1. Insulin: sliding scale"),
        ("Medications on Admission", "Home inhalers:\nAlbuterol\n\nOTC: fish oil"),
        ("Past Medical History", "1. CARDIAC RISK FACTORS: Hypertension\n2. CARDIAC HISTORY:\n-CABG: none"),
        ("Past Medical History", "# Gout\n3. OTHER PAST MEDICAL HISTORY: BPH"),
        ("Past Medical History", "# Hypertension\n# CAD: s/p stent in 2140\n# Depression"),
        ("Past Medical History", "HYPERTENSION\nATRIAL FIBRILLATION\n\nCHRONIC KIDNEY DISEASE"),
        ("Past Medical History", "Coronary Artery Disease\n\nDiabetes Mellitus\n\nPast Surgical History:\nNone"),
        ("Past Medical History", "GERD, POD 5 from bowel resection, COPD on oxygen"),
        ("Past Medical History", "- CHF\n- POD 5 from bowel resection\n- gout"),
        ("Allergies", "No Known Allergies / Adverse Drug Reactions"),
        ("Social History", "Tobacco: quit\nEtOH: none\nLives with: wife\nOccupation: retired"),
        ("Family History", "Mother: stroke\nFather: gout\n\nSiblings: healthy"),
        ("Allergies", "Penicillins: rash\nSulfa (Sulfonamide Antibiotics): hives"),
        ("Chief Complaint", "CHEST PAIN\n\nDyspnea"),
        ("History of Present Illness", "Pain.\n\nIn the ED, initial vitals: 98\n\nROS: no fever\nCV: no syncope"),
        ("History of Present Illness", "Pain.\n\nREVIEW OF SYSTEMS:\nno fever\n\nED COURSE: given aspirin"),
        ("History of Present Illness", "CXR: clear\nUA: negative\nVS prior to transfer: 98 88\nConsults: none\nPale."),
        ("History of Present Illness", "Pain.\nPatient was given: morphine\nOn arrival to the MICU: drowsy\nPale."),
        ("Past Medical History", "ESRD on HD: MWF\nPrior hospitalizations: none\nHospitalizations: none\nHTN"),
        ("History of Present Illness", "She takes the following: aspirin.\nPain: 5/10\nShe denies:\nfever"),
        ("History of Present Illness", "He saw a clinic, where a recent hospital\ncourse was reviewed"),
    ],
)  # fmt: skip
def test_parts_of_other_sections_stay_in_them(section: str, body: str) -> None:
    found = _at_admission(f"{section}:\n{body}\n\nPertinent Results:\nnone\n")
    assert " ".join(" ".join(found.values()).split()) in (
        " ".join(body.split()),
        " ".join(body.replace("Past Surgical History:", "").replace("3. OTHER PAST MEDICAL HISTORY:", "").split()),
    )
    assert len(found) == 1


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("HISTORY OF PRESENTING ILLNESS:", "history_of_present_illness"),
        ("History of present ilness:", "history_of_present_illness"),
        ("HISTORY OF PRESENT ILLNESS (per ED note)", "history_of_present_illness"),
        ("== Past Medical Hx ==", "past_medical_history"),
        ("PAST MEDICAL & SURGICAL HISTORY:", "past_medical_history"),
        ("MEDICATIONS PRIOR TO ADMISSION (from pharmacy records, reviewed):", "medications_on_admission"),
        ("Home Medications", "medications_on_admission"),
        ("ALLERGIES/ADVERSE REACTIONS:", "allergies"),
        ("PHYSICAL EXAMINATION UPON ARRIVAL:", "admission_exam"),
        ("**Physical Exam**", "admission_exam"),
        ("3. Social History\uff1a", "social_history"),
    ],
)  # fmt: skip
def test_other_ways_to_write_known_headings(heading: str, section: str) -> None:
    assert discharge_sections(f"Service: MEDICINE\n\n{heading}\nWords of it.\n") == {section: "Words of it."}


@pytest.mark.parametrize("heading", ["PHYSICAL EXAMINATION:", "Exam:", "PE:", "CC:", "FH", "# Allergies:"])
def test_what_follows_the_course_under_a_plain_heading_is_of_the_discharge(heading: str) -> None:
    text = f"Chief Complaint:\nPain\n\nHospital Course:\n{COURSE}\n\n{heading} Walks again.\n"
    assert _at_admission(text) == {"chief_complaint": "Pain"}


def test_a_second_exam_further_down_is_a_later_one() -> None:
    text = "Physical Exam:\nPale.\n\nPertinent Results:\nWBC 14\n\nPhysical Exam:\nRosy.\n"
    assert _at_admission(text) == {"admission_exam": "Pale."}


def test_the_exam_of_the_admission_may_stand_last() -> None:
    text = f"Hospital Course:\n{COURSE}\n\nADMISSION PHYSICAL EXAM:\nPale.\n"
    assert _at_admission(text) == {"admission_exam": "Pale."}


@pytest.mark.parametrize(
    "line",
    [
        "She was extubated on hospital day 3.", "At discharge, lungs clear.", "On the day of discharge she walked.",
        "During this hospitalization she improved.", "He was discharged home in stable condition.",
    ],
)  # fmt: skip
def test_an_exam_ends_where_it_tells_of_the_course(line: str) -> None:
    assert _at_admission(f"Physical Exam:\nPale.\n{line}\nMore of it.\n") == {"admission_exam": "Pale."}


def test_after_an_addendum_nothing_is_of_the_admission() -> None:
    text = (
        f"History of Present Illness:\nPain.\n\nAddendum:\nHistory of Present Illness:\n{COURSE}\n\nAllergies:\nNone\n"
    )
    assert _at_admission(text) == {"history_of_present_illness": "Pain."}


_SEEN = """History of Present Illness:
Pain for a day.
In the ED, initial vitals: 98 88 120/80
Exam: tender right flank
Labs: WBC 14
Imaging: CT with a stone
Patient was given: morphine
On arrival to the ICU, he is drowsy.

Past Medical History:
Gout

Physical Exam:
ADMISSION PHYSICAL EXAM
=======================
On admission:
VITALS: 98 88
Abdomen: tender
=======================
DISCHARGE PHYSICAL EXAM
=======================
Abdomen: soft

Pertinent Results:
ADMISSION LABS
==============
WBC 14

Brief Hospital Course:
Mr. ___ is a man with a stone.

ACTIVE ISSUES:
==============
# Stone: passed.

TRANSITIONAL ISSUES:
- clinic
PE: none.

Medications on Admission:
The Preadmission Medication list is accurate and complete.
1. Allopurinol ___ mg PO DAILY

Discharge Medications:
1. Tamsulosin 0.4 mg PO QHS
RX *tamsulosin 0.4 mg 1 capsule(s) by mouth at bedtime Disp #*30 Capsule Refills:*0

Discharge Disposition:
Home
"""


def test_a_note_as_it_is_written_today() -> None:
    assert discharge_sections(_SEEN) == {
        "history_of_present_illness": "Pain for a day.\nIn the ED, initial vitals: 98 88 120/80\n"
        "Exam: tender right flank\nLabs: WBC 14\nImaging: CT with a stone\nPatient was given: morphine\n"
        "On arrival to the ICU, he is drowsy.",
        "past_medical_history": "Gout",
        "admission_exam": "VITALS: 98 88\nAbdomen: tender",
        "discharge_exam": "Abdomen: soft",
        "pertinent_results": "WBC 14",
        "brief_hospital_course": "Mr. [removed] is a man with a stone.\n\nACTIVE ISSUES:\n\n# Stone: passed.\n\n"
        "TRANSITIONAL ISSUES:\n- clinic\nPE: none.",
        "medications_on_admission": "The Preadmission Medication list is accurate and complete.\n"
        "1. Allopurinol [removed] mg PO DAILY",
        "discharge_medications": "1. Tamsulosin 0.4 mg PO QHS\n"
        "RX *tamsulosin 0.4 mg 1 capsule(s) by mouth at bedtime Disp #*30 Capsule Refills:*0",
        "discharge_disposition": "Home",
    }  # fmt: skip


@pytest.mark.parametrize("heading", ["HOSPITAL COURSE BY SYSTEM:", "Brief Hospital Course:", "DISCHARGE MEDICATIONS:"])
def test_a_heading_behind_a_sentence_begins_there(heading: str) -> None:
    assert _at_admission(f"Physical Exam:\nAbdomen soft. {heading} {COURSE}") == {"admission_exam": "Abdomen soft."}


def test_the_full_name_of_the_exam_outweighs_its_abbreviation() -> None:
    text = "HPI: Pain.\n\nPE: flank tender in the ED.\n\nPMH: Gout.\n\nPhysical Examination: Pale.\n"
    assert "Pale." in _at_admission(text)["admission_exam"]
