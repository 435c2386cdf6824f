"""How good a version is on a split: counts of every frame, what they come to, and how sure that is.

Frames are scored one by one, by any number of threads or Ray tasks, into integers alone; everything else is computed
from these, so that it is the same for any number of workers. Knows neither ray nor pictures.
"""

from __future__ import annotations

from roadbed.evaluation.bootstrap import Bootstrap
from roadbed.evaluation.comparison import Comparison
from roadbed.evaluation.result import Evaluation
from roadbed.evaluation.scoring import FrameScorer, Scoring, score_frames

__all__ = ["Bootstrap", "Comparison", "Evaluation", "FrameScorer", "Scoring", "score_frames"]
