"""The doctor: what would ruin the training of a segmentation model, found in frames and masks before it does.

`examine` looks at every pair once (look.py, by frames.py, masks.py and fit.py), again at masks that lie upon nothing
(pairing.py), and then at all pairs together (across.py, alike.py, classes.py). subject.py says how pairs are read,
recognise.py what a folder or a uri is. Nothing is changed or written.
"""

from __future__ import annotations

from roadbed.data.doctor.checks import CHECKS, Check, Severity
from roadbed.data.doctor.examine import examine
from roadbed.data.doctor.findings import Diagnosis, Fault, Finding
from roadbed.data.doctor.subject import Subject

__all__ = ["CHECKS", "Check", "Diagnosis", "Fault", "Finding", "Severity", "Subject", "examine"]
