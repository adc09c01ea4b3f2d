"""Desk: what all requests to the page share: the open case, and what is kept beside it while the page is up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Self

from fastapi import Depends, Request

from image_similarity.case import Case, sharing
from image_similarity.pictures.ordinary import trusting_none
from image_similarity.web.answers import Answers
from image_similarity.web.explaining import Explaining
from image_similarity.web.jobs import Jobs
from image_similarity.web.map import Maps
from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import Refused
from image_similarity.web.report_files import ReportFiles
from image_similarity.web.stacks import Stacks
from image_similarity.web.temporary import purge_abandoned
from image_similarity.web.thumbnails import Decoding, Thumbnails
from image_similarity.web.turns import Turn
from image_similarity.web.uploads import Uploads


class Desk:
    """The open case and what is kept beside it; made once, closed with the page.

    Attributes:
        options: What the page was told.
        case: The open case. Look-ups may run beside each other; whoever ranks holds `searching`.
        searching: What a search keeps of the case in memory is for one thread at a time.
        decoding: Whoever decodes pictures waits for a turn, and they are few.
        shared: What the searches have in common: networks that stay loaded, and whose turn it is to rank.
        explaining: Why two pictures are alike; one explanation at a time.
        answers: The last answers to searches, to be read on page by page.
        uploads: Pictures that were sent to search with.
        thumbnails: Small pictures, kept outside the evidence.
        jobs: Long work in threads of its own, with cases of its own.
        reports: Where reports are written to.
        stacks: Which pictures are copies of each other.
        maps: All pictures in a plane.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        with ExitStack() as stack:
            self.case = stack.enter_context(
                Case.open(options.database, read_only=options.read_only)
            )
            # A picture that crashes its decoder must not take the page with it.
            stack.enter_context(trusting_none())
            purge_abandoned(self.case)
            self.decoding = Decoding()
            self.uploads = Uploads(self.case, self.decoding)
            stack.callback(self.uploads.close)
            self.thumbnails = Thumbnails(self.case, options, self.decoding)
            self.maps = Maps(self.case, options, self.thumbnails)
            stack.callback(self.maps.close)
            self._opened = stack.pop_all()
        self.searching = Turn()
        self.shared = sharing(self.searching)
        self.explaining = Explaining(self.case, self.searching)
        self.answers = Answers()
        self.jobs = Jobs(options.database, read_only=options.read_only)
        self.reports = ReportFiles(options)
        self.stacks = Stacks()
        self.jobs.add("stacks", self.stacks.work)
        self.jobs.add("map", self.maps.lay_out)

    def close(self) -> None:
        """Close the case, after a job that runs was stopped in order."""
        try:
            self.jobs.close()
        finally:
            # Also where someone who waits for the job presses Ctrl-C again.
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def deciding(self, examiner: str) -> Iterator[Case]:
        """The case, to be written to in an examiner's name, which the audit chain keeps.

        Raises:
            Refused: The page was opened for reading only.
        """
        if self.options.read_only:
            raise Refused(
                403, "read_only", "the case was opened for reading only", "leave out --read-only"
            )
        with self.case.acting_as(examiner):
            yield self.case


# Not plain: it would take a thread for nothing, and they are few.
async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


# What an operation asks for to get at the case.
TheDesk = Annotated[Desk, Depends(_desk)]
