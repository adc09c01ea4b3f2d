"""What queries see of one database, whether it is looked at from here (on_shelf.py) or by its server (in_server.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from image_similarity.search.choice import Chosen
from image_similarity.search.meaning import Meaning
from image_similarity.search.request import SearchRequest
from image_similarity.search.shelf import Shelf
from image_similarity.search.sight import Wanted
from image_similarity.store import gallery, standing
from image_similarity.store.catalog import Catalog
from image_similarity.values import Excluded, MeasuredRecall, SearchKind, ServerUrl

if TYPE_CHECKING:
    from sqlalchemy import Connection


# Up to this id the codes of a server's vectors are read and kept here, as those of a file are: of a million these are
# 260 MB, and once they are here a search takes a hundredth of what two cores of a server need for the same answer.
READ_HERE = 1_000_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A database with a connection inside a transaction that ends with the block that uses it."""

    catalog: Catalog
    shelf: Shelf
    connection: Connection


@dataclass(frozen=True, slots=True)
class Asked:
    """What all queries of a search have in common."""

    request: SearchRequest
    places: gallery.PlaceFilter
    model: Chosen
    scene_model: Chosen | None
    meaning: Meaning

    @property
    def wanted(self) -> Wanted:
        """One more than k: the query's own place, which is left out, may be all that its content has."""
        return Wanted(self.request.k + 1, self.request.max_distance)

    def in_server(self, opened: Opened) -> bool:
        """Whether a database's server compares its vectors; an index in a file is asked here, whose they may be."""
        if not isinstance(opened.catalog.path, ServerUrl) or self.request.index is not None:
            return False
        return standing.newest(opened.connection, opened.shelf.model_id) > READ_HERE


class Seen(Protocol):
    """What queries see of one database; `number` is that of a query."""

    @property
    def opened(self) -> Opened:
        """The database."""

    @property
    def kinds(self) -> Sequence[SearchKind]:
        """How it was looked at for each query."""

    @property
    def near(self) -> Sequence[list[tuple[int, float]]]:
        """For each query all contents that can be among its hits: image ids, with exact distances."""

    def excluded(self, number: int) -> Excluded:
        """What lists, decisions and dates took out."""

    def searched(self, number: int) -> int:
        """How many contents pass the scene filter."""

    def hidden(self, number: int) -> int:
        """How many do not."""

    def hidden_nearer(self, number: int, distance: float) -> int:
        """How many of those that do not are strictly nearer to the query than a distance."""

    def scene_counts(self, number: int) -> tuple[dict[int, int], int]:
        """How many contents have each scene, by its position, whatever the scene filter; and how many have none."""

    def left_out(self, number: int) -> list[int]:
        """The image ids of what lists and decisions took out of what lies at a place that counts."""

    def recall(self) -> MeasuredRecall:
        """How an approximate look does on stored vectors."""
