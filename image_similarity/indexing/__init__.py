"""The incremental job: a folder is walked, what is new or changed is read, encoded and stored, batch by batch.

`job` is the flow of a run from top to bottom, `run` its state, `refresh` repeats it for known sources. `plan` decides
from a stat what to do with a file, `loader` reads and decodes ahead of the network in bounded memory, `taskset` knows
which models are asked for, `batches` runs them in batches that adapt to the device's memory.
"""

from image_similarity.indexing.job import check_folder, check_options, index_folder
from image_similarity.indexing.refresh import refresh_sources

__all__ = ["check_folder", "check_options", "index_folder", "refresh_sources"]
