"""The interface for programs, and for the page's own scripts: one file for each subject."""

from __future__ import annotations

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """Those of all subjects, in the order in which they are documented."""
    from image_similarity.web.api import (
        about,
        comparisons,
        decisions,
        jobs,
        library,
        map,
        pictures,
        reports,
        runs,
        searches,
        stacks,
        uploads,
    )

    return [
        each.router
        for each in (
            about,
            library,
            pictures,
            uploads,
            searches,
            comparisons,
            decisions,
            reports,
            stacks,
            runs,
            jobs,
            map,
        )
    ]
