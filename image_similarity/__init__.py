"""Indexes folders of photographs and ranks them by similarity; the public names, loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from image_similarity.case import Case
    from image_similarity.encoding.registry import model_names
    from image_similarity.errors import (
        AmbiguousModel,
        CalibrationRefused,
        ClusterError,
        ClusterStalled,
        DatabaseDamaged,
        DatabaseError,
        DatabaseInsideEvidence,
        DatabaseLocked,
        DatabaseMissing,
        DatabaseNotWritable,
        DeviceUnavailable,
        ExtraMissing,
        FolderMissing,
        GoldenDiffers,
        HashListRefused,
        ImageSimilarityError,
        ImageUnreadable,
        IndexRefused,
        InvalidSetting,
        ManifestRefused,
        ModelError,
        NothingToEvaluate,
        NothingToIndex,
        NotOurDatabase,
        SchemaTooNew,
        SchemaTooOld,
        ServerRefused,
        TrainingPicturesMet,
        TrainingRefused,
        UnknownImage,
        UnknownModel,
        UnknownScene,
        UnknownSource,
        UsageError,
        VerificationFailed,
        WeightsChanged,
        WeightsMissing,
        WeightsRefused,
    )
    from image_similarity.settings import ClusterOptions, IndexOptions
    from image_similarity.values import (
        Failure,
        Hit,
        ImageRecord,
        ModelInfo,
        Place,
        RunReport,
        SearchResult,
    )

# A caller who only wants `__version__` or an error class must not wait for torch or SQLAlchemy.
_HOMES = {
    "image_similarity.case": ("Case",),
    "image_similarity.encoding.registry": ("model_names",),
    "image_similarity.errors": (
        "AmbiguousModel",
        "CalibrationRefused",
        "ClusterError",
        "ClusterStalled",
        "DatabaseDamaged",
        "DatabaseError",
        "DatabaseInsideEvidence",
        "DatabaseLocked",
        "DatabaseMissing",
        "DatabaseNotWritable",
        "DeviceUnavailable",
        "ExtraMissing",
        "FolderMissing",
        "GoldenDiffers",
        "HashListRefused",
        "ImageSimilarityError",
        "ImageUnreadable",
        "IndexRefused",
        "InvalidSetting",
        "ManifestRefused",
        "ModelError",
        "NotOurDatabase",
        "NothingToEvaluate",
        "NothingToIndex",
        "SchemaTooNew",
        "SchemaTooOld",
        "ServerRefused",
        "TrainingPicturesMet",
        "TrainingRefused",
        "UnknownImage",
        "UnknownModel",
        "UnknownScene",
        "UnknownSource",
        "UsageError",
        "VerificationFailed",
        "WeightsChanged",
        "WeightsMissing",
        "WeightsRefused",
    ),
    "image_similarity.settings": ("ClusterOptions", "IndexOptions"),
    "image_similarity.values": (
        "Failure",
        "Hit",
        "ImageRecord",
        "ModelInfo",
        "Place",
        "RunReport",
        "SearchResult",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AmbiguousModel",
    "CalibrationRefused",
    "Case",
    "ClusterError",
    "ClusterOptions",
    "ClusterStalled",
    "DatabaseDamaged",
    "DatabaseError",
    "DatabaseInsideEvidence",
    "DatabaseLocked",
    "DatabaseMissing",
    "DatabaseNotWritable",
    "DeviceUnavailable",
    "ExtraMissing",
    "Failure",
    "FolderMissing",
    "GoldenDiffers",
    "HashListRefused",
    "Hit",
    "ImageRecord",
    "ImageSimilarityError",
    "ImageUnreadable",
    "IndexOptions",
    "IndexRefused",
    "InvalidSetting",
    "ManifestRefused",
    "ModelError",
    "ModelInfo",
    "NotOurDatabase",
    "NothingToEvaluate",
    "NothingToIndex",
    "Place",
    "RunReport",
    "SchemaTooNew",
    "SchemaTooOld",
    "SearchResult",
    "ServerRefused",
    "TrainingPicturesMet",
    "TrainingRefused",
    "UnknownImage",
    "UnknownModel",
    "UnknownScene",
    "UnknownSource",
    "UsageError",
    "VerificationFailed",
    "WeightsChanged",
    "WeightsMissing",
    "WeightsRefused",
    "__version__",
    "model_names",
]


def __getattr__(name: str) -> Any:
    """Return a public name from its home, importing that on first use."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, also those that are not loaded yet."""
    return sorted(set(globals()) | set(__all__))
