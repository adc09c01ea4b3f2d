"""One index run on many machines: Ray Data gives the work to them, a PostgreSQL database takes what they found.

`job` is the flow of a run, on the machine that began it; `places` are what can be walked, folders and object stores
(`stores`); `work` are the values that travel; `stages` is what the workers do with a portion of files: read and decode,
embed, write (`writing`); `pipeline` puts the stages together and watches over them, and `connection` opens Ray and
closes it. Everything else is that of a local run, from `indexing`.
"""

from image_similarity.cluster.job import check, index_on_cluster

__all__ = ["check", "index_on_cluster"]
