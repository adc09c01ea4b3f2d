"""Queries as entries of the audit chain: what was asked, with which model, and what was found how near."""

from __future__ import annotations

import hashlib
from typing import Any

from image_similarity.records import exports
from image_similarity.store import audit
from image_similarity.store.catalog import Catalog
from image_similarity.values import SearchResult

# Hits that are listed one by one; of a longer answer the digest of all is kept as well.
LISTED = 1000


def record(catalog: Catalog, result: SearchResult, **asked: Any) -> str | None:
    """Append a query with its hits in this database; gives None, or one sentence why it is not recorded.

    To be called after the answer, outside of `Catalog.reading`.
    """
    here = str(catalog.path)
    hits = [[hit.image.sha256, hit.distance] for hit in result.hits if hit.database == here]
    near = result.near.hits if result.near else ()
    found = result.filter
    entry = {
        "asked": asked,
        "query": result.sha256,
        "made": result.query_made,
        "fused": [sha256 for _, sha256 in result.fusion.queries] if result.fusion else [],
        "against": [sha256 for _, sha256 in result.fusion.against] if result.fusion else [],
        "model": result.model.fingerprint,
        "scene_model": result.scene_model.fingerprint if result.scene_model else None,
        "k": result.k,
        "max_distance": result.max_distance,
        "search": result.search,
        "filter": {
            "mode": found.mode,
            "scenes": list(found.scenes),
            "searched": found.searched,
            "hidden": found.hidden,
        },
        "hits": hits[:LISTED],
        # In bits of PDQ, not in the model's distance.
        "near": [[hit.image.sha256, hit.distance] for hit in near if hit.database == here][:LISTED],
        "count": len(hits),
        "hits_sha256": hashlib.sha256(audit.canonical(hits).encode("ascii")).hexdigest(),
    }
    return exports.append(catalog, "query", entry)
