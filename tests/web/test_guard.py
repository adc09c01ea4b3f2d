"""What the page does not let through: a test for each way in that it shuts, over the wire and without a browser."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext

from image_similarity.errors import InvalidSetting, UsageError
from image_similarity.web import guard, server
from image_similarity.web.options import ServeOptions
from image_similarity.web.sessions import Sessions, TooManyTries
from tests.web.conftest import Serve, Served, Window, forgetting

HEADERS = {name.lower() for name in guard._HEADERS} | {"cache-control"}
FOREIGN = "http://evil.example"
PASSWORD = "correct horse battery"


@pytest.fixture
def served(shared_served: Served) -> Served:
    """One page for all tests here: nothing that is refused leaves a trace."""
    return shared_served


@pytest.fixture
def signed_in(served: Served) -> Iterator[httpx.Client]:
    """A browser, as far as headers go: it has followed the link."""
    with httpx.Client(base_url=served.url, timeout=60) as found:
        found.get(served.link)
        yield found


def ask(method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
    """A request of its own, on a machine that may be busy."""
    return httpx.request(method, url, timeout=60, **more)


def csrf_of(signed_in: httpx.Client) -> str:
    found = re.search('name="csrf" content="([^"]+)"', signed_in.get("/").text)
    assert found is not None
    return found[1]


def raw(served: Served, text: str) -> str:
    """What comes back for bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", served.options.port), timeout=60) as connection:
        connection.sendall(text.encode("latin-1"))
        with connection.makefile("rb") as answer:
            return answer.read().decode("latin-1")


def code_of(answer: httpx.Response) -> str:
    code: str = answer.json()["error"]["code"]
    return code


# --- who is not signed in -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["/api/v1/case", "/api/v1/openapi.json", "/api/v1/nothing", "/api/v1/pictures"]
)
def test_without_a_session_the_interface_tells_nothing(served: Served, address: str) -> None:
    answer = ask("GET", f"{served.url}{address}")
    assert (answer.status_code, code_of(answer)) == (401, "no_session")


def test_without_a_session_nothing_can_be_changed(served: Served) -> None:
    for address in ("/api/v1/session", "/sign-out", "/", "/nothing"):
        assert ask("PUT", f"{served.url}{address}").status_code == 401


def test_without_a_session_a_page_leads_to_the_form_and_back_to_where_one_wanted_to_go(
    served: Served,
) -> None:
    with httpx.Client(base_url=served.url, follow_redirects=True, timeout=60) as client:
        form = client.get("/search?sha256=" + "a" * 64)
        assert form.url.path == "/sign-in"
        sent = {"key": served.sessions.key, "next": form.url.params["next"]}
        page = client.post("/sign-in", data=sent)
        assert (page.status_code, page.url.path) == (200, "/search")
        assert page.url.params["sha256"] == "a" * 64


@pytest.mark.parametrize("key", ["", "x", "ä", "\x00", "Bearer", "0" * 5000])
def test_a_wrong_key_opens_nothing(served: Served, key: str) -> None:
    for answer in (
        ask("GET", f"{served.url}/sign-in", params={"token": key or "x"}),
        ask("POST", f"{served.url}/sign-in", data={"key": key}),
    ):
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    # Of some no header can be made.
    if key.strip("\x00"):
        headers = {"Authorization": f"Bearer {key}".encode()}
        assert ask("GET", f"{served.url}/api/v1/case", headers=headers).status_code == 401


def test_a_cookie_that_was_made_up_opens_nothing(served: Served) -> None:
    name = guard.cookie_name(served.options)
    for value in ("", "x", served.sessions.key, '"', "a" * 3000):
        answer = ask("GET", f"{served.url}/api/v1/case", headers={"Cookie": f"{name}={value}"})
        assert answer.status_code == 401


def test_the_cookie_of_another_page_on_this_machine_does_not_hide_ours(
    signed_in: httpx.Client,
) -> None:
    ours = "; ".join(f"{name}={value}" for name, value in signed_in.cookies.items())
    for theirs in ('a={"b": [1, "x y"]}', "a@b=1", '"', "a=b=c, d;;"):
        answer = ask(
            "GET", signed_in.base_url.join("/api/v1/case"), headers={"Cookie": f"{theirs}; {ours}"}
        )
        assert answer.status_code == 200, theirs


def test_no_script_can_read_the_cookie_and_no_foreign_page_send_it(served: Served) -> None:
    cookie = ask("GET", served.link).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Domain" not in cookie


def test_who_signs_out_is_out(signed_in: httpx.Client) -> None:
    cookies = dict(signed_in.cookies)
    answer = signed_in.post("/sign-out", headers={guard.CSRF_HEADER: csrf_of(signed_in)})
    assert answer.status_code == 303
    assert not signed_in.cookies, "the browser was told to forget it"
    kept = ask("GET", signed_in.base_url.join("/api/v1/case"), cookies=cookies)
    assert kept.status_code == 401, "a copy of the cookie is worth nothing"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/search/../../evil",
        "/\r\nSet-Cookie: a=b",
        "evil.example",
        "",
        "?x",
    ],
)
def test_signing_in_leads_to_a_page_of_ours_and_nowhere_else(served: Served, target: str) -> None:
    sent = {"key": served.sessions.key, "next": target}
    posted = ask("POST", f"{served.url}/sign-in", data=sent)
    linked = ask("GET", served.link, params={"token": served.sessions.key, "next": target})
    assert posted.headers["location"] == linked.headers["location"] == "/"


# --- other sites' pages ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "x@127.0.0.1:{port}",
        "localhost.:{port}",
        "127.0.0.2:{port}",
        "",
    ],
)
@pytest.mark.parametrize("address", ["/", "/sign-in", "/static/base.css", "/api/v1/case"])
def test_a_foreign_name_that_points_at_this_machine_gets_nothing(
    served: Served, host: str, address: str
) -> None:
    headers = {
        "Host": host.format(port=served.options.port),
        "Authorization": f"Bearer {served.sessions.key}",
    }
    answer = ask("GET", f"{served.url}{address}", headers=headers)
    assert (answer.status_code, code_of(answer)) == (421, "foreign_host")


def test_a_request_that_names_no_host_or_two_is_refused(served: Served) -> None:
    host = f"127.0.0.1:{served.options.port}"
    assert " 421 " in raw(served, "GET / HTTP/1.0\r\n\r\n")
    assert " 400 " in raw(served, "GET / HTTP/1.1\r\n\r\n")
    twice = f"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n"
    assert " 400 " in raw(served, twice)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_this_machine_may_be_called_by_any_of_its_own_names(served: Served, name: str) -> None:
    headers = {"Host": f"{name}:{served.options.port}"}
    assert ask("GET", f"{served.url}/sign-in", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", "https://127.0.0.1:{port}", "http://127.0.0.1"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "OPTIONS"])
def test_another_site_s_page_gets_nothing_even_with_the_key(
    served: Served, origin: str, method: str
) -> None:
    headers = {
        "Origin": origin.format(port=served.options.port),
        "Authorization": f"Bearer {served.sessions.key}",
    }
    answer = ask(method, f"{served.url}/api/v1/session", headers=headers)
    assert (answer.status_code, code_of(answer)) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_server_on_this_machine_can_load_nothing_into_itself(
    signed_in: httpx.Client, site: str
) -> None:
    for mode in ("no-cors", "cors", "navigate"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        assert signed_in.get("/api/v1/case", headers=headers).status_code == 403
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert signed_in.get("/static/frame.js", headers=headers).status_code == 403


def test_a_link_to_the_page_may_be_followed_from_anywhere(served: Served) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask("GET", f"{served.url}/", headers=headers).status_code == 303


@pytest.mark.parametrize(
    "headers", [{"Origin": FOREIGN}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_site_cannot_sign_a_browser_in(served: Served, headers: dict[str, str]) -> None:
    answer = ask(
        "POST", f"{served.url}/sign-in", data={"key": served.sessions.key}, headers=headers
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_a_change_without_the_session_s_token_is_refused(
    signed_in: httpx.Client, token: str | None
) -> None:
    headers = {} if token is None else {guard.CSRF_HEADER: token.encode()}
    for method, address in (("PUT", "/api/v1/session"), ("POST", "/sign-out"), ("TRACE", "/")):
        answer = signed_in.request(method, address, headers=headers)
        assert (answer.status_code, code_of(answer)) == (403, "no_csrf_token")


def test_the_token_of_one_session_is_none_of_another(
    served: Served, signed_in: httpx.Client
) -> None:
    with httpx.Client(base_url=served.url, timeout=60) as other:
        other.get(served.link)
        headers = {guard.CSRF_HEADER: csrf_of(other)}
        answer = signed_in.put("/api/v1/session", json={"examiner": "A"}, headers=headers)
    assert code_of(answer) == "no_csrf_token"
    headers = {guard.CSRF_HEADER: csrf_of(signed_in)}
    kept = signed_in.put("/api/v1/session", json={"examiner": "A"}, headers=headers)
    assert kept.json() == {"examiner": "A"}


# --- addresses ----------------------------------------------------------------------------------


TRICKS = [
    "/static/../texts.json",
    "/static/..%2ftexts.json",
    "/static/%2e%2e/app.py",
    "/static/%2e%2e%2f%2e%2e%2fcase/base.py",
    "/static/..\\app.py",
    "/static/..%5capp.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/%00",
    "/static/base.css%00.png",
    "/static/" + "a" * 5000,
    "/static/.",
    "/static/",
    "/static/%ff%fe",
    "/static/../api/v1/case",
    "//etc/passwd",
    "/sign-in/../api/v1/case",
    "/sign-in%2f..%2fapi",
    "/sign-inside",
]


@pytest.mark.parametrize("address", TRICKS)
def test_no_address_leads_out_of_the_folder_or_around_the_session(
    served: Served, address: str
) -> None:
    host = f"Host: 127.0.0.1:{served.options.port}"
    answer = raw(served, f"GET {address} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n")
    status = int(answer.split(" ", 2)[1])
    assert status in (303, 400, 401, 404), answer
    for secret in ("root:", "FastAPI", '"case"', '"database"', "OpenedCase"):
        assert secret not in answer


@pytest.mark.parametrize("address", [*TRICKS, "/api/v1/pictures/..%2f..%2fcase", "/api/v1/%00"])
def test_to_who_is_signed_in_they_are_no_addresses_either(served: Served, address: str) -> None:
    lines = (
        f"GET {address} HTTP/1.1",
        f"Host: 127.0.0.1:{served.options.port}",
        f"Authorization: Bearer {served.sessions.key}",
        "Connection: close",
    )
    answer = raw(served, "\r\n".join(lines) + "\r\n\r\n")
    assert " 404 " in answer.split("\r\n")[0], answer


@pytest.mark.parametrize(
    "name", ["../case.db", "..%2fcase.db", "%2fetc%2fpasswd", "a" * 63, "A" * 64, "a" * 64 + "%00"]
)
def test_a_picture_is_named_by_its_whole_hash_and_by_nothing_else(
    client: httpx.Client, name: str
) -> None:
    for what in ("", "/thumbnail"):
        assert client.get(f"/pictures/{name}{what}").status_code in (404, 422)


@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "OPTIONS", "HEAD", "DELETE", "X", "PROPFIND"]
)
def test_a_method_that_no_page_knows_does_nothing(served: Served, method: str) -> None:
    lines = (
        f"{method} / HTTP/1.1",
        f"Host: 127.0.0.1:{served.options.port}",
        f"Authorization: Bearer {served.sessions.key}",
        "Connection: close",
    )
    answer = raw(served, "\r\n".join(lines) + "\r\n\r\n")
    assert answer.startswith("HTTP/1.1 405 "), answer
    assert "Bearer" not in answer, "TRACE would send the key back"


# --- bodies -----------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_long_is_not_read(client: httpx.Client) -> None:
    body = b"[" + b" " * guard.MOST_SENT + b"]"
    answer = client.put("/session", content=body)
    assert (answer.status_code, code_of(answer)) == (413, "too_large")


def test_a_body_that_does_not_say_how_long_it_is_is_read_up_to_the_limit(
    client: httpx.Client,
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(guard.MOST_SENT // 2**16 + 2):
            yield b" " * 2**16

    answer = client.put("/session", content=pieces())
    assert answer.status_code == 413


def test_who_is_not_signed_in_can_send_no_more_than_a_password(served: Served) -> None:
    answer = ask("POST", f"{served.url}/sign-in", data={"key": "x" * 9000})
    assert answer.status_code == 413


def test_a_body_that_does_not_end_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "SECONDS_TO_SEND", 0.2)
    lines = (
        "PUT /api/v1/session HTTP/1.1",
        f"Host: 127.0.0.1:{served.options.port}",
        f"Authorization: Bearer {served.sessions.key}",
        "Content-Length: 20",
    )
    with socket.create_connection(("127.0.0.1", served.options.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n{").encode())
        assert b" 408 " in connection.recv(4096)


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, '{"examiner": ' + "9" * 5000 + "}", '"\\ud800"', "\x00", '{"examiner":'],
)
def test_a_body_that_is_no_answer_to_the_question_is_refused_in_words(
    client: httpx.Client, body: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.put("/session", content=body.encode(), headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


def test_of_a_thousand_mistakes_a_few_are_told(client: httpx.Client) -> None:
    answer = client.get("/pictures", params=[("limit", "x")] * 200)
    assert len(answer.content) < 2000


# --- answers --------------------------------------------------------------------------------------


@pytest.fixture
def broken(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A page that fails in a way that nobody thought of."""

    def fail() -> None:
        raise RuntimeError("/home/analyst/secret \x1b[2J")

    monkeypatch.setattr(served.desk.case, "facts", fail)
    return served


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/", 200),
        ("/nothing", 404),
        ("/favicon.ico", 404),
        ("/static/base.css", 200),
        ("/static/texts.json", 200),
        ("/static/nothing", 404),
        ("/sign-in", 200),
        ("/sign-in?token=x", 403),
        ("/api/v1/session", 200),
        ("/api/v1/openapi.json", 200),
        ("/api/v1/nothing", 404),
        ("/api/v1/sign-in", 404),
        ("/api/v1/pictures/x", 422),
        ("/api/v1/case", 500),
    ],
)
def test_every_answer_leaves_with_the_policy(broken: Served, address: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {broken.sessions.key}"}
    answer = ask("GET", f"{broken.url}{address}", headers=headers)
    assert answer.status_code == status
    assert set(answer.headers) >= HEADERS
    assert "server" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_refusals_leave_with_the_policy(served: Served) -> None:
    for headers in ({}, {"Host": "evil"}, {"Origin": FOREIGN}):
        answer = ask("GET", f"{served.url}/api/v1/case", headers=headers)
        assert answer.status_code in (401, 403, 421)
        assert set(answer.headers) >= HEADERS
    too_long = ask("POST", f"{served.url}/sign-in", data={"key": "x" * 9000})
    assert too_long.status_code == 413
    assert set(too_long.headers) >= HEADERS


def test_what_nobody_expected_is_told_on_the_terminal_and_not_in_the_answer(
    broken: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with broken.client() as client:
        answer = client.get("/case")
    assert answer.json()["error"] == {
        "code": "unexpected",
        "message": "unexpected RuntimeError",
        "hint": "the terminal of the server says where",
    }
    assert "/home/analyst/secret" in caplog.text
    assert "test_guard.py" in caplog.text, "the place, too"
    assert "\x1b" not in caplog.text, "a name from evidence does not write to the terminal"


def test_no_page_is_kept_by_the_browser(signed_in: httpx.Client) -> None:
    for address in ("/", "/api/v1/case", "/sign-in"):
        assert signed_in.get(address).headers["cache-control"] == "no-store"


def test_too_many_requests_at_once_are_told_to_come_back(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_AT_ONCE", 0)
    answer = client.get("/case")
    assert (answer.status_code, code_of(answer)) == (503, "busy")
    assert answer.headers["retry-after"]


def test_beyond_all_connections_uvicorn_itself_refuses_and_tells_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 1)
    answer = ask("GET", serve().link)
    assert (answer.status_code, answer.text) == (503, "Service Unavailable")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("address", ["/pictures", "/decisions", "/failures", "/reports"])
def test_a_cursor_that_is_none_of_ours_is_refused(client: httpx.Client, address: str) -> None:
    for cursor in ("x", "9" * 200, "-1", "\x00", "é", "a" * 5000, "../..", "m0", "%00"):
        answer = client.get(address, params={"cursor": cursor})
        assert (answer.status_code, bool(code_of(answer))) == (422, True), cursor


def test_a_link_s_token_goes_to_no_other_site_and_to_no_log(
    served: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask("GET", served.link)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert answer.headers["referrer-policy"] == "same-origin"
    written = capfd.readouterr()
    assert served.sessions.key not in written.out + written.err + caplog.text


# --- passwords ----------------------------------------------------------------------------------------


class Clock:
    """A time that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_guesses_a_password_waits_longer_and_longer() -> None:
    clock = Clock()
    sessions = Sessions(PASSWORD, clock=clock)
    waited = []
    for _ in range(12):
        try:
            sessions.opened_by("wrong", "10.0.0.1")
        except TooManyTries as error:
            waited.append(error.seconds)
            clock.now += error.seconds
            assert sessions.opened_by("wrong", "10.0.0.1") is None
    assert waited == sorted(waited)
    assert waited[0] <= 2
    assert waited[-1] >= 64


def test_while_one_waits_the_right_password_is_not_looked_at_either_and_others_do_not_wait() -> (
    None
):
    sessions = Sessions(PASSWORD, clock=Clock())
    for _ in range(5):
        assert sessions.of_program("wrong", "10.0.0.1") is None
    for way in (sessions.opened_by, sessions.of_program):
        with pytest.raises(TooManyTries):
            way(PASSWORD, "10.0.0.1")
        assert way(PASSWORD, "10.0.0.2")


def test_a_machine_with_many_addresses_is_one_that_guesses() -> None:
    sessions = Sessions(PASSWORD, clock=Clock())
    for number in range(5):
        sessions.opened_by("wrong", f"2001:db8::{number}")
    with pytest.raises(TooManyTries):
        sessions.opened_by(PASSWORD, "2001:db8::ffff")
    assert sessions.opened_by(PASSWORD, "2001:db8:0:1::1")


def test_wrong_passwords_are_forgotten_after_a_time() -> None:
    clock = Clock()
    sessions = Sessions(PASSWORD, clock=clock)
    for _ in range(5):
        sessions.opened_by("wrong", "10.0.0.1")
    clock.now += 4000
    for _ in range(5):
        assert sessions.opened_by("wrong", "10.0.0.1") is None


def test_a_token_cannot_be_guessed_and_nobody_waits_for_it() -> None:
    sessions = Sessions(clock=Clock())
    for _ in range(20):
        assert sessions.opened_by("wrong", "127.0.0.1") is None
    assert sessions.opened_by(sessions.key, "127.0.0.1")


def test_a_ticket_opens_one_session() -> None:
    sessions = Sessions()
    ticket = sessions.ticket()
    assert sessions.of_program(ticket) is None
    assert sessions.opened_by(ticket)
    assert sessions.opened_by(ticket) is None


def test_the_form_and_the_interface_tell_who_guesses_to_wait(serve: Serve) -> None:
    served = serve(password=PASSWORD)
    for _ in range(5):
        assert ask("POST", f"{served.url}/sign-in", data={"key": "wrong"}).status_code == 403
    form = ask("POST", f"{served.url}/sign-in", data={"key": PASSWORD})
    headers = {"Authorization": f"Bearer {PASSWORD}"}
    program = ask("GET", f"{served.url}/api/v1/case", headers=headers)
    for answer in (form, program):
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
    assert "Wait" in form.text
    assert code_of(program) == "too_many_tries"


def test_a_password_is_asked_for_and_is_taken_from_no_link(serve: Serve) -> None:
    served = serve(password=PASSWORD)
    answer = ask("GET", f"{served.url}/sign-in", params={"token": PASSWORD})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    posted = ask("POST", f"{served.url}/sign-in", data={"key": PASSWORD})
    assert "set-cookie" in posted.headers


# --- other machines -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signed itself, for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    done = subprocess.run(
        [*made, "-keyout", key, "-out", certificate], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return certificate, key


def test_with_tls_the_page_is_served_encrypted_and_its_cookie_goes_no_other_way(
    serve: Serve, pair: tuple[Path, Path]
) -> None:
    served = serve(password=PASSWORD, certificate=pair[0], key=pair[1])
    url = f"https://127.0.0.1:{served.options.port}"
    trusted = ssl.create_default_context(cafile=str(pair[0]))
    with httpx.Client(base_url=url, verify=trusted, timeout=60) as client:
        answer = client.post("/sign-in", data={"key": PASSWORD}, headers={"Origin": url})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
        assert client.get("/api/v1/case").status_code == 200
        headers = {"Origin": url.replace("https", "http")}
        assert client.get("/api/v1/case", headers=headers).status_code == 403
    with pytest.raises(httpx.HTTPError):
        ask("GET", f"{served.url}/")


def refused(change: Callable[[ServeOptions], ServeOptions]) -> str:
    with pytest.raises(InvalidSetting) as caught:
        server.check(change(ServeOptions(Path("case.db"))))
    return caught.value.message + " " + caught.value.hint


def test_other_machines_are_let_in_with_a_password_and_tls_only(pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    for host in ("0.0.0.0", "::", "192.0.2.1", "127.0.0.2", "example.org"):  # noqa: S104
        at = ServeOptions(Path("case.db"), host=host, names=("case.example",))
        assert "other machines" in refused(lambda _, at=at: at)
        for some in ({"password": PASSWORD}, {"certificate": certificate, "key": key}):
            assert "other machines" in refused(lambda _, at=at, some=some: replace(at, **some))
        server.check(replace(at, password=PASSWORD, certificate=certificate, key=key))


def test_an_address_that_no_browser_uses_needs_a_name(pair: tuple[Path, Path]) -> None:
    at = ServeOptions(
        Path("case.db"),
        host="0.0.0.0",  # noqa: S104
        password=PASSWORD,
        certificate=pair[0],
        key=pair[1],
    )
    assert "--name" in refused(lambda _: at)
    named = replace(at, names=("case.example",))
    server.check(named)
    assert server.link(named, "") == "https://case.example:8765/"
    assert "https://case.example:8765" in guard.origins_of(named)
    assert "https://evil.example:8765" not in guard.origins_of(named)


@pytest.mark.parametrize("name", ["", "https://a", "a:1", "a/b", "a b", "*", "a.", "é"])
def test_a_name_that_no_browser_could_send_is_refused(name: str) -> None:
    assert "no name of a server" in refused(lambda options: replace(options, names=(name,)))


def test_half_a_pair_or_a_broken_one_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert "a certificate and its key" in refused(lambda each: replace(each, certificate=pair[0]))
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\n")
    for certificate, key in ((broken, pair[1]), (pair[1], pair[0]), (tmp_path / "none", pair[1])):
        with pytest.raises(UsageError, match="cannot be used"):
            server.check(ServeOptions(Path("case.db"), certificate=certificate, key=key))


def test_a_key_that_has_a_password_is_refused_and_nobody_is_asked_for_it(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    locked = tmp_path / "locked.pem"
    encrypted = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", pair[1]]
    subprocess.run([*encrypted, "-out", locked], check=True, capture_output=True)
    with pytest.raises(UsageError, match="cannot be used"):
        server.check(ServeOptions(Path("case.db"), certificate=pair[0], key=locked))


# --- a browser's view -------------------------------------------------------------------------------


def test_the_form_signs_a_browser_in(profile: BrowserContext, served: Served) -> None:
    with forgetting(profile, served) as context:
        page = context.new_page()
        page.goto(f"{served.url}/selection")
        page.get_by_label("Token").fill(served.sessions.key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{served.url}/selection")
        assert page.locator("nav").count() == 1


def test_the_button_signs_a_browser_out(window: Window) -> None:
    page = window.go("/selection")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{window.served.url}/sign-in")
    page.goto(f"{window.served.url}/")
    assert page.url.startswith(f"{window.served.url}/sign-in")
