"""A query to ranked hits: which scenes are searched, how near each picture is, and where it was."""

from image_similarity.search.request import SearchRequest
from image_similarity.search.searcher import Searcher, search, search_folder

__all__ = ["SearchRequest", "Searcher", "search", "search_folder"]
