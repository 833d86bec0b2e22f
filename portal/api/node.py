"""The node's side door: enrolment, the offer stream, objects by digest, acks, nacks, status.

Only a node's own credential opens it (enrolment: a one-time token), and that credential opens nothing else: browsers'
sessions and people's tokens are not looked at here. An open stream holds no database connection and no thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Response
from fastapi.responses import FileResponse
from sqlmodel import col, select
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from blocklists.exchange import Ack, Digest, Enrolled, Enrolment, Nack, NodeStatus, Offer
from portal import delivery, enrolment
from portal.database import after_commit, reading, transaction
from portal.delivery import Heartbeat
from portal.errors import Conflict, NotFound
from portal.event_source import event_source
from portal.live import DELIVERY, OFFER, Event
from portal.models.delivery import BaseFile, PolicyVersion
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/node", tags=["node"])

HEARTBEAT = 5  # seconds between comments on a quiet stream
REOFFER = 60.0  # seconds without a new offer, after which one that was not acknowledged is sent again
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}

Wired = Annotated[Wiring, Depends(wiring)]
Bearer = Annotated[str | None, Header(alias="authorization", include_in_schema=False)]


def bearer(authorization: Bearer = None) -> str:
    """Return the secret after `Bearer`; 401 without one."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise _unknown("This address is for resolvers: send the node's credential as a bearer.")
    return secret.strip()


def node_id(wired: Wired, secret: Annotated[str, Depends(bearer)]) -> int:
    """Return the number of the node whose credential was sent; 401 for anything else."""
    with reading(wired.engine) as session:
        node = enrolment.authenticate(session, secret)
        if node is None or node.id is None:
            raise _unknown("No node of this portal has this credential: it was cut off, or enrolled elsewhere.")
        return node.id


def _unknown(sentence: str) -> HTTPException:
    return HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})


Caller = Annotated[int, Depends(node_id)]


@router.post("/enroll", status_code=201)
def enroll(wired: Wired, message: Enrolment, token: Annotated[str, Depends(bearer)]) -> Enrolled:
    """Spend a one-time token: the answer's credential is shown once."""
    with transaction(wired.engine) as session:
        after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))
        return enrolment.enrol(session, token, message, wired.key, wired.clock())


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    wired: Wired, node: Caller, last_event_id: Annotated[str | None, Header()] = None
) -> EventSourceResponse:
    """`event: offer`, `id: VERSION`, `data:` an Offer. The newest one comes at once, unless this node has acknowledged
    it and says so with Last-Event-ID."""
    return event_source(wired.live, _offers(wired, node, last_event_id), ping=HEARTBEAT)


async def _offers(wired: Wired, node: int, last_event_id: str | None) -> AsyncIterator[ServerSentEvent]:
    async with wired.live.subscribe([OFFER], node) as events:  # before the look at the database: no gap between them
        sent = 0
        offer = await run_in_threadpool(_first_offer, wired, node, last_event_id)
        if offer is not None:
            sent = offer.version
            yield _event(offer)
        while not events.closed:
            event = await events.next(REOFFER)
            if event is None and not events.closed:
                offer = await run_in_threadpool(_unanswered, wired, node)
                if offer is not None:
                    sent = offer.version
                    yield _event(offer)
            if event is None or event.offer is None or event.offer.version <= sent:
                continue
            if node not in event.recorded:
                await run_in_threadpool(_record, wired, node, event.offer.version)
            sent = event.offer.version
            yield _event(event.offer)


def _event(offer: Offer) -> ServerSentEvent:
    return ServerSentEvent(offer.model_dump_json(), event="offer", id=str(offer.version))


def _first_offer(wired: Wired, node: int, last_event_id: str | None) -> Offer | None:
    with reading(wired.engine) as session:
        offer = delivery.newest_offer(session)
        if offer is None:
            return None
        if last_event_id == str(offer.version) and delivery.has_answered(session, node, offer.version):
            return None
    _record(wired, node, offer.version)
    return offer


def _unanswered(wired: Wiring, node: int) -> Offer | None:
    """The newest offer once more, for a node that refused it or was silent: its disk may have room again by now."""
    with reading(wired.engine) as session:
        offer = delivery.newest_offer(session)
        if offer is None or delivery.has_answered(session, node, offer.version):
            return None
    _record(wired, node, offer.version)
    return offer


def _record(wired: Wired, node: int, version: int) -> None:
    with transaction(wired.engine) as session:
        delivery.record_offer(session, node, version, _now_ms(wired))


@router.get("/objects/{sha256}")
def objects(wired: Wired, node: Caller, sha256: Digest) -> Response:
    """The bytes of a published policy or of a base, exactly as signed or digested. Ranges resume a base."""
    with reading(wired.engine) as session:
        body = session.exec(select(PolicyVersion.body).where(col(PolicyVersion.digest) == sha256)).first()
        if body is not None:
            return Response(body, media_type="application/json", headers=_FOREVER)
        known = session.get(BaseFile, sha256) is not None
    path = wired.bases.file(sha256)
    if not known or not path.is_file():
        raise NotFound("This portal has no object of this digest.")
    return FileResponse(path, media_type="application/octet-stream", headers=_FOREVER)


@router.post("/acks", status_code=204)
def acks(wired: Wired, node: Caller, message: Ack) -> None:
    """Verified, persisted and swapped in by every worker. Sent again, it counts once."""
    now_ms = _now_ms(wired)
    with transaction(wired.engine) as session:
        refusal = delivery.ack(session, node, message, now_ms)
        after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))
    if refusal is not None:
        raise Conflict(refusal)


@router.post("/nacks", status_code=204)
def nacks(wired: Wired, node: Caller, message: Nack) -> None:
    """Refused, and why: shown to administrators. The node keeps serving what it had."""
    now_ms = _now_ms(wired)
    with transaction(wired.engine) as session:
        refusal = delivery.nack(session, node, message, now_ms)
        after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))
    if refusal is not None:
        raise Conflict(refusal)


@router.post("/status", status_code=204)
def status(wired: Wired, node: Caller, message: NodeStatus) -> None:
    """A heartbeat: health, and the node's clock."""
    wired.jobs.heartbeat(node, Heartbeat(message, _now_ms(wired)))


def _now_ms(wired: Wired) -> int:
    return int(wired.clock() * 1000)
