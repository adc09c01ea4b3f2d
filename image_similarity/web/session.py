"""The session of a request, as operations ask for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from image_similarity.web.sessions import Session


# Not plain: it would take a thread for nothing, and they are few.
async def _session(request: Request) -> Session:
    session: Session = request.state.session
    return session


# What an operation asks for that must know who asks.
TheSession = Annotated[Session, Depends(_session)]
