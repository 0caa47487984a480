"""Distillation stages: training, checkpoints, calibration, run folders."""
