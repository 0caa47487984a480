"""A synthetic hospital: raw tables in the MIMIC-IV 2.2 schema with known ground truth.

Reading order: ``hospital`` (parameters of configs/synthetic), ``patients`` (conditions and their times), ``physiology``
(their effects on the body), ``charting`` and ``laboratory`` (measurements), ``note_writer`` (notes), ``coding`` (codes
and orders), ``truth`` (what was planted), ``raw_tables`` (raw formats), ``chunk`` (all of it for some patients) and
``write`` (all patients, in parallel).
"""
