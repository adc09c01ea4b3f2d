"""The server: an address to listen at, what may be heard there, and the loop that answers."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from image_similarity.errors import ExtraMissing, InvalidSetting, UsageError
from image_similarity.web.options import ServeOptions

if TYPE_CHECKING:
    import uvicorn

    from image_similarity.web.desk import Desk
    from image_similarity.web.sessions import Sessions

# A client that keeps its connection open without a word.
_SECONDS_OPEN = 30
# What is still being worked on when the page is closed.
_SECONDS_TO_FINISH = 5
# Connections, also idle ones; beyond it uvicorn refuses in plain words. Of requests the guard takes fewer.
_MOST_CONNECTIONS = 512
# Addresses that stand for all of the machine: no browser calls it that.
_ALL = ("0.0.0.0", "::")  # noqa: S104 - refused without password and TLS
# What a browser may call a server: a name, an IPv4 address, or an IPv6 address in brackets.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
# What an environment says to OpenTelemetry, which comes with FastAPI.
_TELEMETRY = ("OTEL_", "FASTAPI_OTEL_")


def check(options: ServeOptions) -> None:
    """Refuse what would let others at the case.

    Raises:
        ExtraMissing: The extra `web` is not installed.
        InvalidSetting: An address that others can reach, without password, TLS or a name; half a TLS pair; no port;
            a name that is none.
        UsageError: A TLS file cannot be used.
    """
    require()
    if not 0 <= options.port <= 65_535:
        raise InvalidSetting(f"there is no port {options.port}", hint="--port takes 0 to 65535")
    if (options.certificate is None) != (options.key is None):
        raise InvalidSetting(
            "TLS takes a certificate and its key", hint="give --tls-certificate and --tls-key"
        )
    from image_similarity.web.guard import is_loopback

    if not is_loopback(options.host) and not (options.password and options.certificate):
        raise InvalidSetting(
            f"{options.host} can be reached by other machines",
            hint="give --password-file, --tls-certificate and --tls-key, or leave out --host",
        )
    if options.host in _ALL and not options.names:
        raise InvalidSetting(
            f"no browser calls this server {options.host}",
            hint="say with --name what they will call it",
        )
    for name in options.names:
        if not _NAME.fullmatch(name):
            raise InvalidSetting(
                f"{name!r} is no name of a server", hint="a name alone, without https:// and port"
            )
    if options.certificate and options.key:
        _context(options)


def require() -> None:
    """Refuse to go on without what the page is made with.

    Raises:
        ExtraMissing.
    """
    _tell_nobody()
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            f"the page needs a package that is not installed: {error.name}",
            hint="pip install 'image_similarity[web]'",
        ) from error


def _tell_nobody() -> None:
    """Let no environment have each request told to another machine; the application switches that off, too."""
    for name in [each for each in os.environ if each.startswith(_TELEMETRY)]:
        del os.environ[name]
    os.environ["OTEL_SDK_DISABLED"] = "true"


def _context(options: ServeOptions) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            # No password: OpenSSL would ask the terminal for one.
            str(options.certificate),
            str(options.key),
            password=str,
        )
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{options.certificate} and {options.key} cannot be used: {error}",
            hint="both are PEM files, the key without a password",
        ) from error


def listen(options: ServeOptions) -> socket.socket:
    """Take the address; with port 0 the system chooses one.

    Raises:
        UsageError: The address is taken or not of this machine.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # Named as TCP: only then does asyncio send at once. Else each answer waits 40 ms for the client's acknowledgement.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((options.host, options.port))
        taken.listen(128)
    except OSError as error:
        taken.close()
        raise UsageError(
            f"cannot listen at {options.host} port {options.port}: {error.strerror}",
            hint="another page may be up there; choose another with --port",
        ) from error
    return taken


def serve(
    options: ServeOptions, taken: socket.socket, *, on_ready: Callable[[str, str], None]
) -> None:
    """Answer until Ctrl-C or SIGTERM; what was begun is finished first, if it takes no longer than a few seconds.

    Args:
        options: With the port that was taken.
        taken: What `listen` gave; closed at the end.
        on_ready: Gets two links that open the page, once they can be followed: one for a person, and one that opens
            it once, for a program's command line, which others on the machine can read.

    Raises:
        Whatever opening the case raises.
    """
    from image_similarity.web.desk import Desk
    from image_similarity.web.sessions import Sessions

    with taken, Desk(options) as desk:
        sessions = Sessions(options.password, desk.case.facts().examiner)

        def ready() -> None:
            if sessions.is_password:
                on_ready(link(options, ""), link(options, ""))
            else:
                on_ready(link(options, sessions.key), link(options, sessions.ticket()))

        loop(desk, sessions, ready).run(sockets=[taken])


def loop(
    desk: Desk, sessions: Sessions, on_ready: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """Give what answers over an open case; `on_ready` is called once it does, and signals end it in order."""
    import asyncio

    import uvicorn

    from image_similarity.web.app import make_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            # In a thread: a browser of the terminal's would hold up what it asks for.
            await asyncio.to_thread(on_ready)

    options = desk.options
    return Server(
        uvicorn.Config(
            make_app(desk, sessions),
            # Whatever else is installed: what is refused before the guard sees it must not depend on that.
            http="h11",
            loop="asyncio",
            # A line of it would hold the token of the first link.
            access_log=False,
            log_level="warning",
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_SECONDS_OPEN,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
            limit_concurrency=_MOST_CONNECTIONS,
            ssl_certfile=options.certificate,
            ssl_keyfile=options.key,
        )
    )


def link(options: ServeOptions, token: str) -> str:
    """The link that opens the page; by the first name that was given, for which the certificate is."""
    scheme = "https" if options.certificate else "http"
    address = f"[{options.host}]" if ":" in options.host else options.host
    host = options.names[0] if options.names else address
    return f"{scheme}://{host}:{options.port}/" + (f"sign-in?token={token}" if token else "")
