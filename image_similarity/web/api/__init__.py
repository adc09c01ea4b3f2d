"""The interface for programs, and for the page's own scripts: one file for each subject."""

from __future__ import annotations

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """Those of all subjects, in the order in which they are documented."""
    from image_similarity.web.api import about, comparisons, decisions, jobs, map, pictures, runs, stacks

    return [each.router for each in (about, pictures, comparisons, decisions, stacks, runs, jobs, map)]
