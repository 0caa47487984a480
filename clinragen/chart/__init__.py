"""The chart of a stay: findings of the series, mentions of the note, and the statements that follow from them.

Teachers, verification, constrained decoding, attribution and reports import it; it imports none of them, nor torch.
"""
