"""Case: one database, opened; the public class of the library. Each of its subjects has a file of its own."""

from image_similarity.case.analysing import Analysing
from image_similarity.case.browsing import Browsing
from image_similarity.case.care import Care
from image_similarity.case.checks import (
    check_cluster,
    check_earlier,
    check_folder,
    check_options,
    is_there,
)
from image_similarity.case.decisions import Decisions
from image_similarity.case.indexing import Indexing
from image_similarity.case.lookup import Lookup
from image_similarity.case.reports import Reports
from image_similarity.case.searching import Searching
from image_similarity.case.several import (
    manifest_databases,
    manifest_writer,
    replay_manifest,
    search_cases,
    search_cases_folder,
    search_cases_fused,
    sharing,
    write_sheet,
)

__all__ = [
    "Case",
    "check_cluster",
    "check_earlier",
    "check_folder",
    "check_options",
    "is_there",
    "manifest_databases",
    "manifest_writer",
    "replay_manifest",
    "search_cases",
    "search_cases_folder",
    "search_cases_fused",
    "sharing",
    "write_sheet",
]


class Case(Indexing, Searching, Lookup, Browsing, Reports, Decisions, Analysing, Care):
    """A database of one case: what was indexed, where it was, what it looks like.

    Example:
        ```
        with Case.open("case-17.db") as case:
            report = case.index("/evidence/disk-07", source="disk-07")
            for hit in case.search("query.jpg", k=20).hits:
                print(hit.rank, hit.distance, hit.place.path)
        ```
    """
