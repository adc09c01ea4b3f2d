"""Who may use the page: one key that opens it, and the sessions that it opened."""

from __future__ import annotations

import hmac
import secrets
import threading
from dataclasses import dataclass, field

# More would be no analyst but a program that should use the key itself.
_MOST = 1000


@dataclass(slots=True)
class Session:
    """One browser, or a program with the key: what it must send with every change, and whose name decisions carry."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    examiner: str = ""


class Sessions:
    """The key of this page, and who came in with it; gone when the page is closed.

    Attributes:
        key: The password, or a token that is made anew each time the page is opened.
        is_password: Whether people chose it, and it therefore must not stand in a link.
    """

    def __init__(self, password: str | None = None, examiner: str = "") -> None:
        self.key = password or secrets.token_urlsafe(32)
        self.is_password = password is not None
        self._examiner = examiner
        self._open: dict[str, Session] = {}
        # A program that sends the key with every request.
        self._program = Session(examiner=examiner)
        self._lock = threading.Lock()

    def opened_by(self, key: str) -> Session | None:
        """Open a session for whoever has the key; None for all others."""
        if not self._is_key(key):
            return None
        session = Session(examiner=self._examiner)
        with self._lock:
            while len(self._open) >= _MOST:
                self._open.pop(next(iter(self._open)))
            self._open[session.id] = session
        return session

    def of_cookie(self, cookie: str) -> Session | None:
        """The session that a browser's cookie names."""
        with self._lock:
            return self._open.get(cookie)

    def of_program(self, key: str) -> Session | None:
        """The session of programs that send the key itself."""
        return self._program if self._is_key(key) else None

    def close(self, session: Session) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(session.id, None)

    def _is_key(self, key: str) -> bool:
        return hmac.compare_digest(key.encode("utf-8", "replace"), self.key.encode())
