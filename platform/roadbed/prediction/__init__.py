"""Many pictures and videos through a model, into masks and pictures in a store; what is there is not done again."""

from __future__ import annotations

from roadbed.prediction.inputs import Input, find_inputs
from roadbed.prediction.predicting import Predicted, parse_writes, predict_all
from roadbed.prediction.record import claim
from roadbed.prediction.shots import Making, ShotPredictor

__all__ = ["Input", "Making", "Predicted", "ShotPredictor", "claim", "find_inputs", "parse_writes", "predict_all"]
