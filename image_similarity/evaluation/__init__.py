"""How good a model is: measured on labelled pictures, pairs and edited copies, with intervals."""

from __future__ import annotations

from image_similarity.evaluation.request import EvaluationRequest
from image_similarity.evaluation.results import Evaluation, read_evaluation, write_evaluation
from image_similarity.evaluation.run import evaluate

__all__ = [
    "Evaluation",
    "EvaluationRequest",
    "evaluate",
    "read_evaluation",
    "write_evaluation",
]
