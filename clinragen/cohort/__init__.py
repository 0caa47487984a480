"""A prepared cohort as it is read: tables, window, sections of notes, and whose rationales it holds. Torch-free."""
