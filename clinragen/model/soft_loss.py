"""Token-level distillation: how far the student's next-token probabilities are from a teacher's.

The teacher reports only its most likely tokens (``data.soft_targets``). All others are one more outcome for both
models: the loss is the Kullback-Leibler divergence between the two coarsened distributions, which is at most that of
the full ones (by the data-processing inequality) and 0 if they agree. There is no temperature (Hinton et al. 2015): it
would need the teacher's probabilities of all tokens, and a second softmax of the student.
"""

from __future__ import annotations

from torch import Tensor

from clinragen.data.batch import IGNORED, SoftBatch

FLOOR = 1e-6  # least probability of the other tokens: below it is rounding error in single precision


def divergence(log_probs: Tensor, scored: Tensor, soft: SoftBatch) -> Tensor:
    """Mean KL(teacher || student) in nats over the positions of each stay, [B]; 0 for a stay without positions.

    Args:
        log_probs: of the student, [scored positions, vocabulary].
        scored: bool [B, M], the positions of targets that ``log_probs`` holds, row by row.
        soft: soft targets by position in the targets.
    """
    present = soft.places != IGNORED
    rows = (scored.flatten().cumsum(0) - 1).view_as(scored).gather(1, soft.places.clamp_min(0))[present]
    teacher = soft.probs[present]
    student = log_probs[rows[:, None], soft.ids[present]]
    remainder = (1 - teacher.sum(1)).clamp_min(0)
    left = (1 - (student.exp() * (teacher > 0)).sum(1)).clamp_min(FLOOR)
    losses = (teacher.xlogy(teacher) - teacher * student).sum(1) + remainder.xlogy(remainder) - remainder * left.log()
    sums = losses.new_zeros(len(scored)).index_add(0, present.nonzero()[:, 0], losses)
    return sums / present.sum(1).clamp_min(1)
