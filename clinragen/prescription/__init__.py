"""Prescription: which classes of drugs to start next, on what grounds, and what speaks against each.

Nothing here reads an order that was entered or started after the prediction time, or a code of the visit.
"""
