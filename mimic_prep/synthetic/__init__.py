"""A synthetic hospital: raw tables in the MIMIC-IV 2.2 schema in which the truth is known.

Read in this order: ``hospital`` (what configs/synthetic says), ``patients`` (who has what, and when), ``physiology``
(what that does to the body), ``charting`` and ``laboratory`` (what of it is measured), ``notes`` (what is written),
``coding`` (what is billed and ordered), ``truth`` (what was planted), ``tables`` (the raw formats), ``chunk`` (all of
it for some patients) and ``write`` (all patients, in parallel).
"""
