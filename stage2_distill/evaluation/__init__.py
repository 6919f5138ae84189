"""Evaluation of a student: metrics, test sets, agreement with the teacher, robustness, calibration."""
