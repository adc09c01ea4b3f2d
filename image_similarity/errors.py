"""Every error that the library raises, each with its exit code and a hint.

```
ImageSimilarityError (1)
├── UsageError (2)                FolderMissing, DatabaseInsideEvidence, InvalidSetting, UnknownScene, UnknownSource,
│                                 UnknownImage, AmbiguousModel
├── NothingToIndex (1)            the folder holds no file at all
├── ExtraMissing (1)              an optional package is not installed
├── TrainingRefused (1)           too few pictures to train on, or a training that came to nothing
├── NothingToEvaluate (1)         no task can be made of the pictures
├── TrainingPicturesMet (1)       a model would be measured on what it was trained on
├── CalibrationRefused (1)        groups that cannot be learned from, or a calibration that does not fit
├── HashListRefused (1)           a file of known hashes that cannot be read as one, or holds none
├── ManifestRefused (1)           a manifest that is damaged, or of a model that the database does not hold
├── IndexRefused (1)              an approximate index that is damaged, stale or of another model, or cannot be made
├── DatabaseError (1)             DatabaseNotWritable
│   ├── DatabaseMissing, NotOurDatabase, DatabaseDamaged, ServerRefused (10)
│   ├── DatabaseLocked (11)
│   └── SchemaTooOld, SchemaTooNew (12)
├── ModelError (13)               UnknownModel, WeightsMissing, WeightsChanged, WeightsRefused, GoldenDiffers,
│                                 DeviceUnavailable
├── ImageUnreadable (14)          raised for a query; in a run it is recorded as a Failure
├── VerificationFailed (15)
└── ClusterError, ClusterStalled (16)
```

Trouble with one file of the evidence is never one of these during a run: it is a `values.Failure`, recorded, and the
run goes on. Trouble with our own database always is, because a run that cannot record must not go on.
"""

from __future__ import annotations


class ImageSimilarityError(Exception):
    """The base of every error of this package: one line that says what and which, and a hint what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ImageSimilarityError):
    """The request itself is wrong."""

    exit_code = 2


class FolderMissing(UsageError):
    """The folder (or picture) to index does not exist or is of another kind."""


class DatabaseInsideEvidence(UsageError):
    """The database would be written into the folder that is to be indexed."""


class InvalidSetting(UsageError):
    """A value is out of its range: k of 0, a negative distance, an empty source name."""


class UnknownScene(UsageError):
    """A scene was named that no scene model in the database knows."""


class UnknownSource(UsageError):
    """A source was named that the database does not hold."""


class UnknownImage(UsageError):
    """A path or SHA-256 was named that the database does not hold."""


class AmbiguousModel(UsageError):
    """The database holds several models and none was chosen."""


class NothingToIndex(ImageSimilarityError):
    """The folder holds no file: most often evidence that is not mounted, so nothing is marked as gone."""


class CalibrationRefused(ImageSimilarityError):
    """Groups cannot be learned from, or a reference table or calibration is damaged or of another model."""


class IndexRefused(ImageSimilarityError):
    """An approximate index is damaged, of another model or of an earlier state of the database, or cannot be made."""


class HashListRefused(ImageSimilarityError):
    """A file is no list of hashes of the form that was asked for, is damaged, or holds no hash."""


class ManifestRefused(ImageSimilarityError):
    """A manifest is not what it claims to be, or cannot be replayed on this database."""


class NothingToEvaluate(ImageSimilarityError):
    """No task can be made of the pictures: no two classes, no edits, no pairs, or none can be read."""


class TrainingPicturesMet(ImageSimilarityError):
    """Pictures that a model was trained on were to be used to measure it; there are no figures then."""


class ExtraMissing(ImageSimilarityError):
    """What was asked for needs a package that is not installed; the hint names the extra."""


class TrainingRefused(ImageSimilarityError):
    """There are too few groups or pictures to train on, or the training's loss became no number."""


class DatabaseError(ImageSimilarityError):
    """The database could not be read or written."""


class DatabaseNotWritable(DatabaseError):
    """The database cannot be written: read-only medium, no permission, or a full disk."""


class DatabaseMissing(DatabaseError):
    """A command that only reads was given a path where no database is."""

    exit_code = 10


class NotOurDatabase(DatabaseError):
    """The file is no SQLite database, or one of another program; it was not touched."""

    exit_code = 10


class DatabaseDamaged(DatabaseError):
    """SQLite reports the file as malformed."""

    exit_code = 10


class ServerRefused(DatabaseError):
    """The server of a database cannot be reached, lets nobody in, or is older than this program needs."""

    exit_code = 10


class DatabaseLocked(DatabaseError):
    """Another run is writing to this database."""

    exit_code = 11


class SchemaTooOld(DatabaseError):
    """The database was written by an earlier version and may not be upgraded by this command."""

    exit_code = 12


class SchemaTooNew(DatabaseError):
    """The database was written by a later version of this program."""

    exit_code = 12


class ModelError(ImageSimilarityError):
    """A model cannot be used."""

    exit_code = 13


class UnknownModel(ModelError):
    """No model of that name is registered, or the database holds no embeddings of it."""


class WeightsMissing(ModelError):
    """The model is known, its weights file is not on this machine; nothing is ever downloaded by itself."""


class WeightsChanged(ModelError):
    """The weights are not those that the card or the database recorded."""


class WeightsRefused(ModelError):
    """The weights file is corrupt, of another layout, or tries to execute code."""


class GoldenDiffers(ModelError):
    """Preprocessing or network do not give here what the model's card recorded when it was exported."""


class DeviceUnavailable(ModelError):
    """The device asked for does not exist on this machine."""


class ImageUnreadable(ImageSimilarityError):
    """The query picture cannot be read or decoded."""

    exit_code = 14


class VerificationFailed(ImageSimilarityError):
    """Files or records differ from what the database recorded."""

    exit_code = 15


class ClusterError(ImageSimilarityError):
    """The machines of a run cannot be reached, are not alike, or were lost too often; what was written stays."""

    exit_code = 16


class ClusterStalled(ClusterError):
    """No batch was finished for longer than a run may stand still; what was written stays."""
