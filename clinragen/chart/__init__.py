"""What a stay's chart shows: findings of the series, what the note says, and the statements that follow from them.

Teachers, verification, constrained decoding, attribution and reports read it; it reads none of them and needs no torch.
"""
