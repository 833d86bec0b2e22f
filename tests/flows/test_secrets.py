"""No secret in a log: a real district does its work, and wrong things are sent to it, with secrets that are looked for
afterwards in every file it keeps, every error it answered, its audit, its figures and its processes' arguments."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyotp
import pytest

from portal.oidc import flow
from portal.people import browsers, sessions
from tests.flows.district import District, free_port, until
from tests.portal.oidc.idp import CLIENT, Idp, running
from tests.portal.pages.gate import Browser

EMAIL, DOMAIN = "ada.root@riverbend.example", "riverbend.example"
PASSWORD, WRONG = "needle-of-the-right-password", "needle-of-a-wrong-password"
OIDC_SECRET, PASSPHRASE = "needle-of-the-client-secret", "needle-of-the-backup-passphrase"
BAD_TOKEN, BAD_CODE = "sgt_needle-of-a-token-that-is-none", "needle-of-a-code"

DATABASE = ("portal/portal.sqlite", "portal/portal.sqlite-wal")


@dataclass
class Needles:
    """What must not be found; `home`: the only files that may hold it, as paths in the data folder."""

    homes: dict[bytes, tuple[str, ...]] = field(default_factory=dict)

    def add(self, secret: str | bytes, *home: str) -> None:
        plain = secret.encode() if isinstance(secret, str) else secret
        assert len(plain) >= 10, "too short to be found by its looks"
        self.homes[plain] = home

    def found_in(self, name: str, content: bytes) -> list[str]:
        return [
            f"{secret[:24]!r} in {name}"
            for secret, home in self.homes.items()
            if secret in content and name not in home
        ]


@dataclass
class House:
    district: District
    idp: Idp
    needles: Needles
    answers: list[tuple[str, bytes]] = field(default_factory=list)

    @contextlib.contextmanager
    def browser(self) -> Iterator[Browser]:
        """One whose errors are kept, with their headers."""

        def keep(response: httpx.Response) -> None:
            if response.status_code >= 400:
                head = "".join(f"{name}: {value}\n" for name, value in response.headers.items() if name != "set-cookie")
                self.answers.append((f"{response.request.method} {response.url.path}", head.encode() + response.read()))

        hooks = {"response": [keep]}
        with httpx.Client(base_url=self.district.url, follow_redirects=True, timeout=30, event_hooks=hooks) as client:
            yield Browser(client)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("secrets")
    secret, settings = folder / "oidc.secret", folder / "schoolgate.toml"
    secret.write_text(OIDC_SECRET + "\n")
    secret.chmod(0o600)
    with running() as idp:
        idp.client_secret = OIDC_SECRET
        settings.write_text(
            f'[portal.oidc]\nprovider = "google"\nclient_id = "{CLIENT}"\nclient_secret_file = "{secret}"\n'
            f'domains = ["{DOMAIN}"]\nissuer = "{idp.url}"\n'
        )
        district = District(folder / "data", free_port(), free_port(), 1, workers=1, demo=False)
        try:
            district.start("--config", str(settings))
            yield House(district, idp, Needles())
        finally:
            district.stop()


def run(house: House, *words: str, given: str = "") -> str:
    """A command beside the running portal; secrets go in by standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words, "--data", str(house.district.data)],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    house.answers.append((f"schoolgate {words[0]}", done.stderr.encode()))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sign_in(house: House, browser: Browser, password: str) -> None:
    browser.open("/sign-in")
    browser.send("/sign-in", {"email": EMAIL, "password": password})
    for name in (sessions.COOKIE, browsers.COOKIE):
        if name in browser.client.cookies:
            house.needles.add(browser.client.cookies[name])


def enrol_codes(house: House, browser: Browser) -> pyotp.TOTP:
    browser.open("/account")
    page = browser.send("/account/codes").text
    found = re.search(r"\b[A-Z2-7]{32}\b", page)
    assert found is not None
    totp = pyotp.TOTP(found[0])
    house.needles.add(found[0], "POST /account/codes")  # the page that enrols shows it until the code is right
    browser.send("/account/codes", {"code": BAD_CODE})
    shown = browser.send("/account/codes", {"code": totp.now()}).text
    codes = re.findall(r"<li>([a-z0-9]{5}-[a-z0-9]{5})</li>", shown)
    assert len(codes) == 10
    for code in codes:
        house.needles.add(code)
    return totp


def provider(house: House) -> None:
    """Through the provider: there and back, and back with what is wrong."""
    house.idp.person = {"sub": "s1", "email": EMAIL, "email_verified": True, "hd": DOMAIN}
    with house.browser() as browser:
        browser.open("/sign-in/oidc")
        assert browser.path() == "/sign-in/code", browser.text
        browser.send("/sign-in/code", {"code": BAD_CODE})
        house.needles.add(browser.client.cookies["schoolgate_step"])
    with house.browser() as browser:
        browser.client.follow_redirects = False
        there = browser.client.get("/sign-in/oidc")
        house.needles.add(browser.client.cookies[flow.COOKIE])
        house.needles.add("needle-of-a-providers-code")
        state = httpx.URL(there.headers["location"]).params["state"]
        browser.open(f"/sign-in/oidc/callback?code=needle-of-a-providers-code&state={state}")
        browser.open(f"/sign-in/oidc/callback?code=needle-of-a-providers-code&state=x&iss={WRONG}")
    assert OIDC_SECRET in house.idp.secrets
    for secret in house.idp.secrets:
        house.needles.add(secret)


def tokens(house: House, browser: Browser) -> None:
    """Made on the page and by the command, used well and badly."""
    browser.open("/tokens")
    page = browser.send("/tokens", {"name": "script", "role": "administrator", "scope": "change", "days": "9"}).text
    found = re.search(r'<code id="token">(sgt_[^<]+)</code>', page)
    assert found is not None
    made = run(house, "token", "create", "--role", "auditor", "--name", "robot")
    for secret in (found[1], made):
        house.needles.add(secret)
        with house.browser() as caller:
            bearer = {"Authorization": f"Bearer {secret}"}
            assert caller.client.get("/api/v1/sites", headers=bearer).status_code == 200
            caller.client.get("/api/v1/nowhere", headers=bearer, params={"access_token": secret})
            caller.client.post("/api/v1/users", headers=bearer, json={"email": 7, "password": [PASSWORD]})
            caller.client.post("/api/v1/users", headers=bearer, content=b'{"password": "' + WRONG.encode())
            caller.client.post(
                "/api/v1/users", headers=bearer, json={"email": "x", "name": "", "roles": [], "password": WRONG}
            )
    with house.browser() as caller:
        for headers in ({"Authorization": f"Bearer {BAD_TOKEN}"}, {"Authorization": f"Basic {BAD_TOKEN}"}):
            assert caller.client.get("/api/v1/sites", headers=headers).status_code == 401
        caller.client.post("/api/v1/node/enroll", headers=headers, json={"name": BAD_TOKEN})
        caller.client.get("/people", headers={"Host": "evil.example", "Cookie": f"{sessions.COOKIE}={BAD_TOKEN}"})


def nodes(house: House, browser: Browser) -> None:
    """A second node enrols with a token of the page; wrong ones do not."""
    browser.open("/nodes")
    page = browser.send("/nodes/tokens").text
    secret = next(one for one in re.findall(r"<code[^>]*>([^<]{40,})</code>", page) if " " not in one)
    house.needles.add(secret)
    with house.browser() as caller:
        bearer = {"Authorization": f"Bearer {secret}"}
        caller.client.post("/api/v1/node/enroll", headers=bearer, json={"name": 7})
        answer = caller.client.post(
            "/api/v1/node/enroll", headers=bearer, json={"name": "second", "sites": [], "software": "test"}
        )
        assert answer.status_code == 201, answer.text
        credential = answer.json()["credential"]
        house.needles.add(credential)
        caller.client.post("/api/v1/node/enroll", headers=bearer, json={"name": "again", "sites": [], "software": "x"})
        node = {"Authorization": f"Bearer {credential}"}
        caller.client.post("/api/v1/node/acks", headers=node, json={"version": 99, "digest": credential})
        caller.client.get("/api/v1/sites", headers=node)
    identity = json.loads((house.district.data / "node" / "identity.json").read_text())
    house.needles.add(identity["credential"], "node/identity.json")


def keys(house: House) -> None:
    for file in (house.district.data / "portal" / "keys").iterdir():
        content, home = file.read_bytes().strip(), f"portal/keys/{file.name}"
        if file.suffix == ".key" or b"PRIVATE" in content:
            body = b"".join(line for line in content.splitlines() if b"-----" not in line)
            house.needles.add(body, home)
            house.needles.add(base64.b64encode(content)[:40], home)


def break_sign_in(house: House, browser: Browser) -> None:
    """A bug in the middle of signing in, with the hash of a secret in hand: its trace is in the log."""
    with contextlib.closing(sqlite3.connect(house.district.data / DATABASE[0], timeout=30)) as database:
        breaks = "BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END"
        database.execute(f"CREATE TRIGGER broken BEFORE INSERT ON sign_in_step {breaks}")
        try:
            sign_in(house, browser, PASSWORD)
            assert browser.page is not None and browser.page.status_code == 500
        finally:
            database.execute("DROP TRIGGER broken")


def arguments(house: House) -> Iterator[tuple[str, bytes]]:
    """The command line and the environment of every process of the district."""
    assert house.district.process is not None
    wanted, parents = {house.district.process.pid}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    while more := {pid for pid, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    assert len(wanted) >= 5  # up, portal, resolver, worker, subscription, log writer
    for pid in wanted:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                yield f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()


def files(house: House) -> Iterator[tuple[str, bytes]]:
    data = house.district.data
    yield "the terminal", house.district.output.read_bytes()
    for path in sorted(data.rglob("*")):
        if path.is_file():
            with contextlib.suppress(FileNotFoundError):
                yield str(path.relative_to(data)), path.read_bytes()


@pytest.mark.slow
def test_no_secret_is_in_a_log_a_file_an_error_the_audit_or_an_argument(house: House, tmp_path: Path) -> None:
    for secret in (PASSWORD, WRONG, OIDC_SECRET, PASSPHRASE, BAD_TOKEN, BAD_CODE):
        house.needles.add(secret)
    made = ("user", "create", EMAIL, "--name", "Ada", "--role", "administrator")
    run(house, *made, "--password-file", "-", given=PASSWORD)
    with house.browser() as browser:
        sign_in(house, browser, WRONG)
        sign_in(house, browser, PASSWORD)
        assert browser.client.cookies.get(sessions.COOKIE), browser.text
        browser.client.post("/brakes", data={"csrf": WRONG, "name": "x"})
        tokens(house, browser)
        nodes(house, browser)
        enrol_codes(house, browser)
        provider(house)
        phrase = tmp_path / "phrase"
        phrase.write_text(PASSPHRASE)
        phrase.chmod(0o600)
        run(house, "backup", str(tmp_path / "file.backup"), "--passphrase-file", str(phrase))
        keys(house)
        audit = browser.client.get("/api/v1/audit", params={"limit": 500})
        figures = browser.client.get("/metrics")
        assert audit.status_code == figures.status_code == 200
        processes = list(arguments(house))
        with house.browser() as other:
            break_sign_in(house, other)
    log = house.district.data / "portal.log"
    until(lambda: b"broken on purpose" in log.read_bytes(), what="the trace in the log")
    assert b"INSERT INTO sign_in_step" in log.read_bytes() and b"[parameters:" not in log.read_bytes()
    everywhere = [("audit", audit.content), ("metrics", figures.content), *house.answers, *processes, *files(house)]
    assert len(house.answers) > 15
    text = dict(everywhere)
    assert EMAIL.encode() in text[DATABASE[0]] + text.get(DATABASE[1], b"")  # what is there is found
    assert not [found for name, content in everywhere for found in house.needles.found_in(name, content)]


def test_what_is_there_would_be_found() -> None:
    needles = Needles()
    needles.add("a needle that is long", "home")
    assert needles.found_in("log", b"x a needle that is long x")
    assert not needles.found_in("home", b"a needle that is long")
