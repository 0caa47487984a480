"""Radiology reports keep what was seen, under whatever headings it stands, and nothing that was added later."""

from __future__ import annotations

import pytest

from mimic_prep.radiology import radiology_sections

BODY = "The heart is enlarged. There are bilateral effusions."

#: reports without a heading of findings; {} is where these stand
WITHOUT = {
    "after the indication": "INDICATION: Cough.\n\n{}\n\nIMPRESSION: Failure.",
    "after the comparison": "INDICATION: Cough.\nCOMPARISON: None.\n\n{}\n\nIMPRESSION: Failure.",
    "under the name of the study": "INDICATION: Cough.\n\nPORTABLE AP CHEST: {}\n\nIMPRESSION: Failure.",
    "name of the study, no blank line": "INDICATION: Cough.\nAP CHEST RADIOGRAPH: {}\nIMPRESSION: Failure.",
    "name of the study, on a line of its own": "HISTORY: Cough.\n\nPORTABLE CHEST\n\n{}\n\nIMPRESSION: Failure.",
    "no blank line at all": "INDICATION: Cough.\n{}\nIMPRESSION: Failure.",
    "no blank line, after the technique": "HISTORY:\nCough.\nTECHNIQUE: AP view.\n{}\nIMPRESSION: Failure.",
    "a wrapped indication": "INDICATION: Cough\nfor two days, rule out\npneumonia.\n{}\nIMPRESSION: Failure.",
    "wet reading first": "WET READ: 10:58 AM\n Fluid.\n ______\n FINAL REPORT\n {}\n\n IMPRESSION: Failure.",
    "study in capitals, impression in lower case": "INDICATION: Cough.\n\nAP CHEST:\n{}\n\nImpression: Failure.",
    "before the impression alone": "{}\n\nIMPRESSION: Failure.",
    "impression without a colon": "INDICATION: Cough.\n\n{}\n\nIMPRESSION\nFailure.",
    "final report": "[**2150-1-3**] 10:02 AM\n CHEST (PORTABLE AP)          Clip # [**Clip Number 1**]\n"
    " Reason: cough\n Admitting Diagnosis: SEPSIS\n ______________________________\n MEDICAL CONDITION:\n"
    "  72 year old woman\n REASON FOR THIS EXAMINATION:\n  Cough.\n ______________________________\n"
    "                     FINAL REPORT\n {}\n\n IMPRESSION:  Failure.",
    "final report, indication in it": "Reason: cough\n __________\n      FINAL REPORT\n INDICATION:  Cough.\n\n {}\n\n"
    " IMPRESSION:  Failure.\n",
    "Windows": "INDICATION: Cough.\r\n\r\n{}\r\n\r\nIMPRESSION: Failure.\r\n",
    "examination first": "EXAMINATION: Chest\n\nINDICATION: Cough.\n\nTECHNIQUE: AP.\n\n{}\n\nIMPRESSION: Failure.",
}  # fmt: skip


@pytest.mark.parametrize("way", WITHOUT)
def test_reports_without_a_heading_of_findings_keep_their_body(way: str) -> None:
    found = radiology_sections(WITHOUT[way].format(BODY))
    assert BODY in found["radiology_findings"]
    assert found["radiology_impression"] == "Failure."
    assert found.get("radiology_indication", "Cough.") in ("Cough.", "Cough for two days, rule out pneumonia.")
    assert "SEPSIS" not in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "INDICATION: Cough. FINDINGS: Clear lungs. IMPRESSION: Normal.",
        "Indication: Cough.\nFindings: Clear lungs.\nImpression: Normal.",
        "CLINICAL INDICATION: Cough.\n\nFINDINGS:\nClear lungs.\n\nIMPRESSIONS:\nNormal.",
        "REASON FOR EXAM\uff1a Cough.\nFINDINGS\uff1a Clear lungs.\nCONCLUSION\uff1a Normal.",
        "**INDICATION:** Cough.\n**FINDINGS:** Clear lungs.\n**IMPRESSION:** Normal.",
        "INDICATION: Cough.\nDOSE: 3\nFINDINGS: Clear lungs.\nIMPRESSION: Normal.\nRECOMMENDATION: None",
        "HISTORY:  Cough.\nCOMPARISON:  ___.\nFINDINGS:  Clear lungs.\nIMPRESSION:  Normal.\nNOTIFICATION: By phone.",
    ],
)  # fmt: skip
def test_headings_of_radiology_in_other_spellings(text: str) -> None:
    assert radiology_sections(text) == {
        "radiology_indication": "Cough.", "radiology_findings": "Clear lungs.", "radiology_impression": "Normal.",
    }  # fmt: skip


def test_a_report_of_an_impression_alone() -> None:
    assert radiology_sections("IMPRESSION: No fracture.\nNo fluid.\n") == {
        "radiology_impression": "No fracture.\nNo fluid.",
    }  # fmt: skip


def test_parts_of_the_findings_stay_in_them() -> None:
    parts = "LUNGS: Clear.\n\nCT ABDOMEN: Stone.\n\nOSSEOUS STRUCTURES: Intact."
    found = radiology_sections(f"INDICATION: Pain.\n\nFINDINGS:\n\n{parts}\n\nIMPRESSION:\n1. Stone.")
    assert (found["radiology_findings"], found["radiology_impression"]) == (parts, "1. Stone.")


@pytest.mark.parametrize(
    "text",
    [
        "FINDINGS: Clear lungs.\n\nIMPRESSION: Normal.\n\nADDENDUM: Read again: nodule.",
        "FINDINGS: Clear lungs.\n\nIMPRESSION: Normal.\n\nADDENDUM:\nIMPRESSION: nodule.",
        "FINDINGS: Clear lungs.\nIMPRESSION: Normal.\nAddendum [**2150-1-9**]: nodule.",
        " ADDENDUM  \n nodule.\n ____________\n     FINAL REPORT\n FINDINGS: Clear lungs.\n IMPRESSION: Normal.",
        "*** ADDENDUM ***\nnodule.\n\nEXAMINATION: Chest\n\nFINDINGS: Clear lungs.\n\nIMPRESSION: Normal.",
    ],
)  # fmt: skip
def test_an_addendum_inside_a_report_has_no_time_and_is_left_out(text: str) -> None:
    assert radiology_sections(text) == {"radiology_findings": "Clear lungs.", "radiology_impression": "Normal."}
