"""Vocabulary of headings: which section a title opens, and which words indicate text from after the admission."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

#: section -> headings in MIMIC discharge summaries (lower case; a blank stands for any white space)
SECTIONS: dict[str, tuple[str, ...]] = {
    "chief_complaint": ("chief complaint", "chief complaints", "cc", "reason for admission", "presenting complaint"),
    "history_of_present_illness": (
        "history of present illness", "hpi", "history of the present illness", "present illness",
    ),
    "past_medical_history": (
        "past medical history", "pmh", "pmhx", "past medical/surgical history", "past medical and surgical history",
        "medical history", "past history", "past surgical history", "psh",
    ),
    "social_history": ("social history", "sh", "social hx"),
    "family_history": ("family history", "fh", "family hx"),
    "medications_on_admission": (
        "medications on admission", "admission medications", "meds on admission", "home medications", "home meds",
        "medications prior to admission", "medications at home", "outpatient medications", "preadmission medications",
    ),
    "allergies": ("allergies", "allergies to medications", "allergy"),
    "admission_exam": (),  # split off the physical exam
    "physical_exam": ("physical exam", "physical examination", "pe", "exam", "physical exam on admission",
                      "admission physical exam", "admission exam", "admission physical examination",
                      "physical examination on admission", "exam on admission"),
    "discharge_exam": ("discharge physical exam", "discharge exam", "physical exam on discharge", "exam on discharge",
                       "discharge physical examination", "physical examination on discharge"),
    "pertinent_results": ("pertinent results", "laboratory data", "labs", "laboratory studies", "pertinent labs",
                          "admission labs", "studies", "imaging"),
    "procedures": ("major surgical or invasive procedure", "major surgical or invasive procedures"),
    "brief_hospital_course": ("brief hospital course", "hospital course", "summary of hospital course",
                              "hospital course by system", "hospital course by systems",
                              "brief hospital course by problem",
                              "concise summary of hospital course", "brief summary of hospital course",
                              "hospital course by issue", "hospital course by problem"),
    "discharge_medications": ("discharge medications", "medications on discharge", "discharge meds"),
    "discharge_disposition": ("discharge disposition", "disposition", "facility"),
    "discharge_diagnosis": ("discharge diagnosis", "discharge diagnoses", "final diagnosis", "final diagnoses",
                            "primary diagnosis", "secondary diagnosis", "secondary diagnoses"),
    "discharge_condition": ("discharge condition", "condition on discharge", "condition at discharge"),
    "discharge_instructions": ("discharge instructions", "discharge instruction"),
    "followup_instructions": ("followup instructions", "follow-up instructions", "follow up instructions", "followup",
                              "recommended follow-up"),
    "header": ("name", "unit no", "admission date", "discharge date", "date of birth", "sex", "service", "attending",
               "completed by", "dictated by", "date of admission", "date of discharge"),
}  # fmt: skip

#: Sections with what was known at admission, although a discharge summary is written later.
KNOWN_AT_ADMISSION = (
    "chief_complaint", "history_of_present_illness", "past_medical_history", "social_history",
    "family_history", "medications_on_admission", "allergies", "admission_exam",
)  # fmt: skip
OF_ADMISSION = frozenset((*KNOWN_AT_ADMISSION, "physical_exam"))

COURSE = "brief_hospital_course"
#: Other meanings of a title: text of the discharge, from before the admission, an addendum, or none of these.
LATER, BEFORE, ADDENDUM, OTHER = "later", "before", "addendum", "other"

_BODY = (
    "general gen appearance physical exam examination vs vital vitals sign signs temp temperature t tm tmax tc bp "
    "hr rr sat sats saturation o2 spo2 sao2 pulse pulses p r resp respiratory respirations pain weight wt height "
    "ht bmi i o ins outs in out fs fsbg gcs rass cvp pap vent ventilator settings access constitutional heent "
    "head eyes eye ears ear nose mouth throat oropharynx op ent pupils sclera conjunctiva neck nodes node lymph "
    "lymphatic lymphatics ln thyroid jvp jvd carotid carotids chest breast breasts lungs lung pulm pulmonary "
    "cardiac cardiovascular card cor cv cvs heart rhythm murmur abdomen abd abdominal gi gu gyn pelvic pelvis "
    "rectal rectum genital genitalia genitourinary guaiac back spine flank flanks cva ext exts extrem extremities "
    "extremity limbs leg legs arm arms hand hands foot feet knee hip hips joints joint msk musculoskeletal skin "
    "integument integumentary derm dermatologic wound wounds incision incisions dressing line lines drain drains "
    "tube tubes neuro neurologic neurological mental status state ms mse cranial nerve nerves cn cns motor "
    "sensory sensation sensorium strength tone bulk reflexes reflex dtr dtrs toes plantar babinski coordination "
    "cerebellar gait stance station romberg language speech attention memory orientation fundi fundoscopic visual "
    "fields affect mood psych psychiatric behavior thought insight judgment vascular peripheral edema right left "
    "upper lower l b bilateral radial dp pt femoral popliteal brachial ue le rue lue rle lle delt bic tri mucous "
    "membranes turgor color dentition face facial tongue palate inspection palpation percussion auscultation ii "
    "iii iv v vi vii viii ix x xi xii positive negative pertinent nad initial repeat orthostatics nasal vaginal "
    "discharge ecog nihss fast cnii"
)
_PAST = (
    "past history hx prior previous medical surgical surgeries surgery oncologic oncology obstetric ob gyn "
    "gynecologic psychiatric cardiac cardiology risk factors cabg percutaneous coronary interventions pacing icd "
    "pacemaker pump function other renal pulmonary endocrine gi gu heme hematologic neurologic neurological neuro "
    "vascular orthopedic ortho rheumatologic infectious dermatologic cancer chronic hospitalizations "
    "immunizations vaccinations transfusions trauma birth developmental screening valvular disease sexual "
    "menstrual smoking etoh"
)
_CAME = (
    "ed er emergency department room triage arrival presentation upon review systems ros symptoms onset duration "
    "location quality severity timing context associated note brief background baseline reports denies "
    "significant ekg ecg cxr ua ct cta mri tte ultrasound urgent care clinic pcp ambulance ems field scene osh outside"
)
_LIVES = (
    "tobacco smoking smoker cigarettes alcohol etoh drugs drug illicits illicit ivdu ivda substance substances "
    "use abuse occupation work job employment employed retired lives living home housing situation marital status "
    "married children education exercise activity travel pets exposures sexual language religion functional "
    "baseline adl adls iadls diet caffeine contact contacts family social history habits recreational"
)
_KIN = (
    "mother father brother brothers sister sisters sibling siblings parents mom dad grandmother grandfather "
    "grandparents maternal paternal aunt aunts uncle uncles cousin cousins son sons daughter daughters children "
    "side cancer heart disease cardiac diabetes stroke other family history"
)
_DRUGS = (
    "inhalers inhaler otc prn herbal supplements supplement vitamins list confirmed per pharmacy patient insulin "
    "drips drip oral iv topical eye ear drops pain psych cardiac standing scheduled as needed other meds "
    "medications home outpatient current over counter nebulizers nebs morning evening night bedtime am pm"
)
_REACTIONS = "drug drugs food environmental latex contrast adverse reaction reactions other intolerances medications"

#: section -> words of titles that are parts of it, not sections ("Lungs:" of an exam, "Tobacco:" of habits)
PARTS: dict[str, frozenset[str]] = {
    "chief_complaint": frozenset(),
    "history_of_present_illness": frozenset(f"{_BODY} {_PAST} {_CAME}".split()),
    "past_medical_history": frozenset(f"{_BODY} {_PAST}".split()),
    "social_history": frozenset(_LIVES.split()),
    "family_history": frozenset(f"{_KIN} {_PAST}".split()),
    "medications_on_admission": frozenset(_DRUGS.split()),
    "allergies": frozenset(_REACTIONS.split()),
    "physical_exam": frozenset(_BODY.split()),
}  # fmt: skip
_SMALL = "and or of the on upon in at to for with by per from a an as"
SMALL = frozenset(_SMALL.split())
_SENTENCE = (
    "he she they it we i his her their him them was were is are has had have been be did does do denies denied "
    "reports reported states stated said who which that this these those following showed shows revealed notable "
    "includes no not none known include including given found would will"
)
#: Words of a sentence: "She denies:" is no heading.
SENTENCE = frozenset(_SENTENCE.split())

_PRIOR = re.compile(r"\b(?:past|prior|previous|previously|recent|last|earlier|that time|outside|osh)\b")
_CAME_THROUGH = re.compile(
    r"^(?:(?:initial|brief|course|in|the|at|of|and|ed|er|emergency|department|room|dept|outside|osh|hospital|facility|"
    r"referring|triage)\b ?)+$"
)
_ELSEWHERE = re.compile(r"\b(?:ed|er|emergency|osh|outside|referring)\b")
_OF_COURSE = re.compile(
    r"\b(?:course|courses|hospitali[sz]ations?|hospitali[sz]ed)\b|^hospital$|^b?hc$|^h c$"
    r"|\bhosp(?:ital)? (?:crse|crs)\b|^(?:the )?(?:this|current|present) admission\b"
    r"|\bduring (?:\w+ )?(?:hospital|admission|stay)\b"
    r"|\b(?:hosp|hospital|icu|micu|sicu|ccu|inpatient|in patient) "
    r"(?:stay|events?|summary|evolution|narrative|progress)\b"
    r"|\bby (?:organ )?(?:systems?|problems?|issues?)\b|\bwhile (?:in|at|on) "
    r"|\bsummary of (?:the )?(?:stay|admission|events)\b"
)
_OF_DISCHARGE = re.compile(
    r"\b(?:discharge|discharged|discharging|dispo|disposition|callout|call out|expired|death|deceased|autopsy|"
    r"transfer|transferred(?! from)|transfers|rehab|rehabilitation)\b"
    r"|\b(?:final|last|latest|most recent|later) (?:physical )?exam(?:ination)?\b"
    r"|\b(?:new|changed|stopped) (?:meds|medications)\b|\b(?:med|medication) changes\b"
)
#: Discharge from a wound or the nose is a finding.
_FROM_A_BODY = re.compile(
    r"\b(?:nasal|vaginal|wound|purulent|ear|aural|urethral|eye|ocular|nipple|bloody|serous|clear|penile|drain)\b"
    r"|discharge from"
)
_CERTAIN = re.compile(
    r"\b(?:assessment|plan|ap|impression|progress|issues?|events?|interval|subsequent|subsequently|postoperative|postop|"
    r"post op|post operative|intraoperative|operative|operation|hospital day|overnight|procedures?|consults?|"
    r"consultations?|transitional|complications?|summary|synopsis|narrative|evolution|treatment|management|outcome|"
    r"intervention|interventions|diagnos[ie]s|hospital|inpatient)\b"
    r"|^(?:pod|hd|(?:active |acute )?problems?|problem list|medications|meds|current medications)$"
)
_LATE_SECTIONS = (
    ("discharge_exam", ("exam", "examination", "pe")),
    ("discharge_medications", ("medications", "meds", "medication")),
    ("discharge_diagnosis", ("diagnosis", "diagnoses")),
    ("discharge_condition", ("condition",)),
    ("discharge_instructions", ("instructions", "instruction")),
    ("discharge_disposition", ("disposition", "dispo")),
)
_HISTORY, _MEDICATIONS = {"history", "hx"}, {"medications", "meds", "medicines", "medication"}
_EDITS_FROM = 5  # least letters of a word that may be misspelt
_NO_MISSPELLING = frozenset(("tissue source nurse plane planes patent").split())  # noqa: SIM905 - words read better than a column of quotes
_MOST_WORDS = 14


def _key(heading: str) -> str:
    return " ".join(re.findall(r"[a-z]+", heading))


_OWNER = {_key(heading): section for section, headings in SECTIONS.items() for heading in headings}
_JOINED = {key.replace(" ", ""): key for key in _OWNER if " " in key}
_VOCABULARY = sorted(
    {word for key in _OWNER for word in key.split() if len(word) >= _EDITS_FROM}
    | {"course", "hospitalization", "discharge", "assessment", "summary", "addendum", "issues", "presenting"}
)


def _shortened(word: str) -> set[str]:
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


_NEAR: dict[str, str] = {short: word for word in _VOCABULARY for short in sorted(_shortened(word))}


@lru_cache(maxsize=1 << 16)
def owner(base: str, whole: str) -> str | None:
    """The section that a title opens, or LATER, BEFORE, ADDENDUM, OTHER; None for an uninformative title.

    Args:
        base: its words in lower case, without those in parentheses.
        whole: the same with them.

    >>> owner("summary of hospital course by issue system", "summary of hospital course by issue system")
    'brief_hospital_course'
    """
    if not base or whole.count(" ") >= 2 * _MOST_WORDS:
        return None
    base = _JOINED.get(base, base)
    return _lookup(base, whole) or _respelt(base, whole)


def exact(base: str) -> str | None:
    """The section with a known heading of exactly these words."""
    return _OWNER.get(_JOINED.get(base, base))


def _lookup(base: str, whole: str) -> str | None:
    words = set(whole.split())
    if "addendum" in words or "addenda" in words:
        return ADDENDUM
    section = _OWNER.get(base)
    late = _of_discharge(whole)
    if section and not late:
        return section
    if _OF_COURSE.search(whole):
        elsewhere = _CAME_THROUGH.match(whole) and _ELSEWHERE.search(whole)
        before = whole == "hospitalizations" or (
            _PRIOR.search(whole) and ("course" not in words or bool(words & SENTENCE))
        )
        return BEFORE if elsewhere or before else COURSE
    if late:
        if section and section not in ("physical_exam", "chief_complaint"):
            return section if section.startswith(("discharge", "header")) else LATER
        return None if words & SENTENCE else next((name for name, of in _LATE_SECTIONS if words & set(of)), LATER)
    if words & SENTENCE:
        return None
    return _alike(set(base.split())) or (OTHER if _CERTAIN.search(whole) and not _PRIOR.search(whole) else None)


def _of_discharge(whole: str) -> bool:
    return bool(_OF_DISCHARGE.search(whole)) and not _FROM_A_BODY.search(whole)


#: Sections by the words of their headings: one of each set. The first matching section is taken.
_MAKING: tuple[tuple[str, tuple[Collection[str], ...]], ...] = (
    ("history_of_present_illness", ({"present", "presenting"}, {"illness"})),
    ("social_history", (_HISTORY, {"social"})),
    ("family_history", (_HISTORY, {"family"})),
    ("past_medical_history", (_HISTORY, {"medical", "surgical"})),
    ("medications_on_admission", (_MEDICATIONS, {"admission", "home", "outpatient", "preadmission"})),
    ("allergies", ({"allergies"},)),
    ("chief_complaint", ({"chief"}, {"complaint"})),
    ("physical_exam", ({"exam", "examination"}, {"physical", "admission", "arrival", "initial", "presentation"})),
)


def _alike(words: set[str]) -> str | None:
    """The section whose heading words occur, in any order and with others between."""
    if len(words) > _MOST_WORDS:
        return None
    return next((name for name, parts in _MAKING if all(words.intersection(part) for part in parts)), None)


def _respelt(base: str, whole: str) -> str | None:
    """The section of a title with missing, doubled, swapped or wrong letters."""
    mended = [_mended(word) for word in whole.split()]
    if mended == whole.split():
        return None
    return _lookup(" ".join(_mended(word) for word in base.split()), " ".join(mended))


def _mended(word: str) -> str:
    if len(word) < _EDITS_FROM - 1 or word in _VOCABULARY_SET or word in _NO_MISSPELLING:
        return word
    near = {_NEAR[short] for short in _shortened(word) if short in _NEAR}
    close = [candidate for candidate in near if abs(len(candidate) - len(word)) <= 1]
    return min(close) if close else word


_WELL_SPELT = f"{_BODY} {_PAST} {_CAME} {_LIVES} {_KIN} {_DRUGS} {_SENTENCE}"
_VOCABULARY_SET = frozenset(_VOCABULARY) | frozenset(_WELL_SPELT.split())
