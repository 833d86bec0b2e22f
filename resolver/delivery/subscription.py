"""The node's side of delivery, in its own process: offer in; verified, kept, swapped in; ack or nack out.

    stream   follows the portal's offers; only the newest counts; reconnects with jitter and back-off for ever
    apply    newest offer -> fetch what is missing -> `PolicyStore.accept` -> swap in every worker -> ack | nack
    status   this node's health, every few seconds

It never touches a query and never decides what is true: the store verifies, the supervisor says what is served. It may
be killed at any moment: what it began is begun again from `current.json`, and acks are idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx_sse
import zstandard
from pydantic import BaseModel, ValidationError

from blocklists.exchange import Ack, Nack, NodeStatus, Offer, Reach
from resolver.children import receive, send
from resolver.delivery.enrolment import Identity, is_loopback, read_identity, said
from resolver.delivery.keyring import Keyring
from resolver.delivery.policy_store import Held, PolicyStore, Refused
from resolver.delivery.transfer import Rejected, Transfer, Unreachable, check
from resolver.log import aggregates
from resolver.upstreams.channel import client_context

log = logging.getLogger("schoolgate.resolver.subscription")

SILENCE_LIMIT = 15.0  # the portal writes every 5 s; a stream without a byte for so long is dead
STATUS_EVERY = 5.0
GROUPS_EVERY = 15.0  # what groups asked goes along this often
USED_EVERY = 300.0  # the names of grants in use
AGAIN_AFTER = 30.0  # seconds until a refused offer is tried again, when the reason may pass
FIRST_WAIT = 0.2
LONGEST_WAIT = 15.0
ALWAYS = 0.5  # share of a wait that is not random
_chance = random.SystemRandom()


def run(state: Path, channel: socket.socket, lifeline: int, ca: Path | None = None) -> int:
    """Follow the portal until the supervisor says `drain` or is gone. `ca`: who signs the portal's certificate, the
    system's authorities when None. Raises `BadIdentity`, and `OSError` for a `ca` that cannot be read."""
    identity = read_identity(state)
    channel.setblocking(False)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would write a line for every call
    return asyncio.run(Subscription(state, identity, channel, client_context(ca)).follow(lifeline))


class Subscription:
    """One node's conversation with its portal. `channel` leads to the supervisor."""

    def __init__(self, state: Path, identity: Identity, channel: socket.socket, trust: ssl.SSLContext) -> None:
        self._state = state
        self._store = PolicyStore(state)
        self._identity = identity
        self._keys = Keyring(state, identity)
        self._channel = channel
        self._api = f"{identity.portal}/api/v1/node"
        self._headers = {"Authorization": f"Bearer {identity.credential}"}
        self._tls = trust
        self._direct = is_loopback(urlsplit(identity.portal).hostname or "")  # whatever proxy the environment names
        self._newest: Offer | None = None
        self._work = asyncio.Event()
        self._health: dict[str, Any] = {}
        self._swapped: asyncio.Future[dict[str, Any]] | None = None
        self._in_force = ""  # digest of what was last acknowledged; empty while something is being carried out
        self._portal = "not asked yet"
        self._error = ""
        self._reach = ""  # how far the newest version has come everywhere, in the portal's words
        self._reach_at = 0.0  # when it said so; the wall clock's seconds

    async def follow(self, lifeline: int) -> int:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(lifeline, over.set)
        loop.add_reader(self._channel, self._hear, over)
        timeout = httpx.Timeout(5.0, read=SILENCE_LIMIT)
        async with httpx.AsyncClient(
            headers=self._headers, timeout=timeout, verify=self._tls, trust_env=not self._direct
        ) as client:
            tasks = [
                asyncio.create_task(one)
                for one in (self._stream(client), self._apply(client), self._report(client), over.wait())
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # a part that failed ends the process with its trace; the supervisor starts another
        return 0

    # The supervisor

    def _hear(self, over: asyncio.Event) -> None:
        try:
            message = receive(self._channel)
        except BlockingIOError:
            return
        if message is None or message.get("do") == "drain":
            over.set()
        elif message.get("did") == "status":
            self._health = {key: value for key, value in message.items() if key != "did"}
            if self._in_force and message["digest"] not in (None, self._in_force):
                log.warning("the workers serve another version than was acknowledged: beginning again")
                over.set()  # a successor says what is held, and is offered what is missing
        elif self._swapped is not None and not self._swapped.done():
            self._swapped.set_result(message)

    async def _swap(self, held: Held, *, back: bool = False) -> None:
        """Return when every worker serves `held`. Raises `Refused` with the supervisor's reason, or `Unreachable`.

        `back`: those that serve something newer are to be replaced; a worker itself never goes to an older version.
        """
        self._swapped = asyncio.get_running_loop().create_future()
        message = {"do": "swap", "version": held.version, "digest": held.digest, "base": held.base, "back": back}
        if not send(self._channel, message):
            raise Unreachable("the supervisor does not listen")
        while True:
            answer = await self._swapped
            if (answer.get("version"), answer.get("digest")) == (held.version, held.digest):
                break
            self._swapped = asyncio.get_running_loop().create_future()  # an answer to an earlier question
        if answer.get("did") != "swapped":
            raise Refused(str(answer.get("reason") or "the workers could not take it"))

    def _tell(self, *, portal: str | None = None, error: str | None = None) -> None:
        """Pass on a change of state, and log it: once, not at every try."""
        before = self._portal, self._error
        self._portal = self._portal if portal is None else portal
        self._error = self._error if error is None else error
        if (self._portal, self._error) == before:
            return
        if self._portal != before[0]:
            log.info("portal %s: %s", self._identity.portal, self._portal)
        self._say()

    def _say(self) -> None:
        told = {"portal": self._portal, "error": self._error, "reach": self._reach, "reach_at": self._reach_at}
        send(self._channel, {"did": "status", **told})

    # Offers

    async def _stream(self, client: httpx.AsyncClient) -> None:
        tries = 0
        while True:
            try:
                async with contextlib.aclosing(self._offers(client)) as offers:
                    async for offer in offers:
                        tries = 0
                        if offer is not None:
                            self._newest = offer
                            self._work.set()
                self._tell(portal="not reachable: it closed the stream")
            except Rejected as error:
                self._tell(portal=f"refuses this node: {error}")
            except (httpx.HTTPError, httpx_sse.SSEError) as error:
                self._tell(portal=f"not reachable: {str(error)[:200] or type(error).__name__}")
            await asyncio.sleep(_wait(tries))
            tries += 1

    async def _offers(self, client: httpx.AsyncClient) -> AsyncGenerator[Offer | None, None]:
        """Yield None when the stream is open, then each offer. What is no offer is a nack that nobody could match."""
        headers = dict(self._headers)
        with contextlib.suppress(Refused):
            if (held := self._store.held()) is not None:
                headers["Last-Event-ID"] = str(held.version)
        async with httpx_sse.aconnect_sse(client, "GET", f"{self._api}/stream", headers=headers) as source:
            if source.response.status_code != 200:
                raise Rejected(f"{source.response.status_code}: {said(await source.response.aread())}")
            self._tell(portal="connected")
            yield None
            async for event in source.aiter_sse():
                if event.event == "recall":
                    await self._give_back(client, event.data)
                if event.event != "offer":
                    continue
                try:
                    yield Offer.model_validate_json(event.data)
                except ValidationError as error:
                    self._tell(error=f"an offer that cannot be read: {error.errors()[0]['msg']}")

    async def _give_back(self, client: httpx.AsyncClient, data: str) -> None:
        """A portal that was restored from a backup asks for the policy that it signed meanwhile."""
        with contextlib.suppress(Refused, ValueError, KeyError, TypeError, httpx.HTTPError):
            digest = json.loads(data)["digest"]
            held = self._store.held()
            policy = None if held is None or held.digest != digest else self._store.kept_policy(digest)
            if held is None or policy is None:
                return
            body = zstandard.ZstdCompressor().compress(policy)
            answer = await client.put(
                f"{self._api}/objects/{digest}", content=body, headers={"Signature": held.signature}
            )
            log.info("the portal asked version %d back: %d", held.version, answer.status_code)

    async def _apply(self, client: httpx.AsyncClient) -> None:
        """Carry out the newest offer until it is acked or refused; first of all, what is held already."""
        await self._resume(client)
        tries = 0
        timeout = httpx.Timeout(5.0, read=SILENCE_LIMIT)
        with httpx.Client(
            headers=self._headers, timeout=timeout, verify=self._tls, trust_env=not self._direct
        ) as fetching:
            fetcher = Transfer(fetching, self._api, self._store.state)
            while True:
                await self._work.wait()
                self._work.clear()
                if (offer := self._newest) is None:
                    continue
                try:
                    await self._carry_out(client, fetcher, offer)
                    tries = 0
                except (Unreachable, httpx.HTTPError) as error:
                    log.debug("version %d: %s", offer.version, error)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._work.wait(), _wait(tries))  # a newer offer, or again
                    tries += 1
                    self._work.set()
                except Rejected as error:
                    self._tell(error=f"version {offer.version}: the portal said {error}")

    async def _resume(self, client: httpx.AsyncClient) -> None:
        """A predecessor may have kept a snapshot and died: see that it is served, and say so again."""
        try:
            held = self._store.held()
            if held is None:
                return
            await self._swap(held)
        except (Refused, Unreachable) as error:
            self._tell(error=str(error))
            return
        self._in_force = held.digest
        tries = 0
        while not self._work.is_set():  # an offer says all of this again
            try:
                await self._post(client, "acks", Ack(version=held.version, digest=held.digest))
                return
            except (Unreachable, httpx.HTTPError):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._work.wait(), _wait(tries))
                tries += 1
            except Rejected as error:
                log.debug("ack of the held version %d: %s", held.version, error)
                return

    async def _carry_out(self, client: httpx.AsyncClient, fetcher: Transfer, offer: Offer) -> None:
        started = time.monotonic()
        self._in_force = ""
        try:
            held = await asyncio.to_thread(self._fetch_and_keep, fetcher, offer)
            try:
                await self._swap(held)
            except Refused:
                await self._go_back(offer)
                raise
        except Refused as error:
            self._tell(error=f"version {offer.version} refused: {error.reason}")
            if error.passing:
                asyncio.get_running_loop().call_later(AGAIN_AFTER, self._work.set)
            reason = error.reason[:500]
            await self._post(client, "nacks", Nack(version=offer.version, digest=offer.digest, reason=reason))
            return
        self._tell(error="")
        self._in_force = offer.digest
        await self._post(client, "acks", Ack(version=offer.version, digest=offer.digest))
        log.info("version %d in force after %.0f ms", offer.version, (time.monotonic() - started) * 1000)

    async def _go_back(self, offer: Offer) -> None:
        """Workers could not take what was kept: make the previous snapshot current again, for those that did."""
        before = await asyncio.to_thread(self._store.revert)
        if before is not None and before.digest != offer.digest:
            with contextlib.suppress(Refused, Unreachable):
                await self._swap(before, back=True)

    def _fetch_and_keep(self, fetcher: Transfer, offer: Offer) -> Held:
        """In a thread: disk and hashing must not hold up the stream. Raises `Refused` or a transport error."""
        held = None
        with contextlib.suppress(Refused):
            held = self._store.held()
        policy = self._store.kept_policy(offer.digest) if held is not None and held.digest == offer.digest else None
        if policy is None:
            known = None if held is None else self._store.kept_policy(held.digest)
            resembling = None if held is None or known is None else (held.digest, known)
            policy = fetcher.policy(offer.digest, resembling)
        now = time.time()
        if added := self._keys.learn(offer.keys, now):
            log.warning("the portal signs with a new key, named by the one before it (%d since)", added)
        return self._store.accept(offer, policy, fetcher.base, self._keys.accepted(now))

    # What the portal is told

    async def _report(self, client: httpx.AsyncClient) -> None:
        groups_at = used_at = 0.0
        piece = 0
        while True:
            self._say()  # a supervisor that hears nothing takes this process for stuck
            if self._health:
                groups = time.monotonic() >= groups_at
                groups_at = time.monotonic() + GROUPS_EVERY if groups else groups_at
                used = piece if time.monotonic() >= used_at else None
                sight = await asyncio.to_thread(aggregates.sight, self._state, groups=groups, used=used)
                if sight is not None and sight.used is not None:
                    used_at, piece = time.monotonic() + USED_EVERY, piece + 1
                status = NodeStatus(clock=time.time(), sight=sight, **self._health)
                with contextlib.suppress(httpx.HTTPError, Unreachable, Rejected, ValidationError):
                    self._reach = Reach.model_validate_json(await self._post(client, "status", status)).sentence()
                    self._reach_at = time.time()
            await asyncio.sleep(STATUS_EVERY if self._health else 0.2)

    async def _post(self, client: httpx.AsyncClient, what: str, body: BaseModel) -> bytes:
        answer = await client.post(f"{self._api}/{what}", json=body.model_dump(mode="json"))
        check(answer.status_code, said(answer.content))
        return answer.content


def _wait(tries: int) -> float:
    """Seconds before try number `tries` + 1: doubling, capped, half of it random, so that nodes fall out of step."""
    longest = min(FIRST_WAIT * 2.0 ** min(tries, 20), LONGEST_WAIT)
    return longest * (ALWAYS + (1 - ALWAYS) * _chance.random())
