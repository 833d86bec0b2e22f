"""The node's side door: enrolment, the offer stream, objects by digest, acks, nacks, status.

Only a node's own credential opens it (enrolment: a one-time token), and that credential opens nothing else: browsers'
sessions and people's tokens are not looked at here. An open stream holds no database connection and no thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import zstandard
from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from blocklists.exchange import Ack, Digest, Enrolled, Enrolment, Nack, NodeStatus, Offer, Reach
from portal.api.dependencies import problems
from portal.database import after_commit, reading, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.models.delivery import BaseFile
from portal.nodes import delivery, enrolment, reports, restoration
from portal.nodes.event_source import event_source
from portal.nodes.live import DELIVERY, OFFER, Event
from portal.nodes.reports import Heartbeat
from portal.places import district
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/node", tags=["node"])

HEARTBEAT = 5  # seconds between comments on a quiet stream
RECALL = 2.0  # seconds between looks at what a node has said, while this portal is held
REOFFER = 60.0  # seconds without a new offer, after which one that was not acknowledged is sent again
ZSTD = "application/zstd"
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in ("application/json", "application/octet-stream", ZSTD)}}
}
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


@router.post("/enroll", status_code=201, responses=problems(401, 403, 409, 422))
def enroll(wired: Wired, message: Enrolment, token: Annotated[str, Depends(bearer)]) -> Enrolled:
    """Spend a one-time token: the answer's credential is shown once."""
    with transaction(wired.engine) as session:
        after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))
        return enrolment.enrol(session, token, message, wired.keys.current, wired.clock())


@router.get("/stream", response_class=EventSourceResponse, responses=problems(401, 422))
async def stream(
    wired: Wired, node: Caller, last_event_id: Annotated[str | None, Header()] = None
) -> EventSourceResponse:
    """`event: offer`, `id: VERSION`, `data:` an Offer. The newest one comes at once, unless this node has acknowledged
    it and says so with Last-Event-ID."""
    return event_source(wired.live, _offers(wired, node, last_event_id), ping=HEARTBEAT)


async def _offers(wired: Wired, node: int, last_event_id: str | None) -> AsyncIterator[ServerSentEvent]:
    async with wired.live.subscribe([OFFER], node) as events:  # before the look at the database: no gap between them
        sent = 0
        recalling, _ = await run_in_threadpool(_recall, wired, node)
        offer = await run_in_threadpool(_first_offer, wired, node, last_event_id)
        if offer is not None:
            sent = offer.version
            yield _event(offer)
        recalled = ""
        while not events.closed:
            event = await events.next(RECALL if recalling else REOFFER)
            if recalling and not events.closed:
                recalling, digest = await run_in_threadpool(_recall, wired, node)
                if digest and digest != recalled:
                    recalled = digest
                    yield ServerSentEvent(json.dumps({"digest": digest}), event="recall")
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
    """The newest offer, if the node lacks it. What it holds less than it once acknowledged, it has lost."""
    holds = (
        int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 17 else 0
    )
    with reading(wired.engine) as session:
        offer = delivery.newest_offer(session)
        lost = reports.fell_back(session, node, holds)
    if lost:
        with transaction(wired.engine) as session:
            reports.take_back(session, node, holds, _now_ms(wired))
            after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))
    with reading(wired.engine) as session:
        if offer is None:
            return None
        if last_event_id == str(offer.version) and reports.has_answered(session, node, offer.version):
            return None
    _record(wired, node, offer.version)
    return offer


def _unanswered(wired: Wiring, node: int) -> Offer | None:
    """The newest offer once more, for a node that refused it or was silent: its disk may have room again by now."""
    with reading(wired.engine) as session:
        offer = delivery.newest_offer(session)
        if offer is None or reports.has_answered(session, node, offer.version):
            return None
    _record(wired, node, offer.version)
    return offer


def _recall(wired: Wiring, node: int) -> tuple[bool, str | None]:
    """Whether this portal is held after a restore, and the digest of the policy that this node shall send back."""
    with reading(wired.engine) as session:
        return district.get(session).held_at is not None, restoration.wanted(session, node)


def _record(wired: Wired, node: int, version: int) -> None:
    with transaction(wired.engine) as session:
        reports.record_offer(session, node, version, _now_ms(wired))


@router.get("/objects/{sha256}", response_class=Response, responses={**_BYTES, **problems(401, 404, 422)})
def objects(
    wired: Wired,
    node: Caller,
    sha256: Digest,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    against: Digest | None = None,
) -> Response:
    """The bytes of a published policy or of a base, exactly as signed or digested.

    Who accepts `application/zstd` gets them compressed: a policy with the published policy `against` as dictionary
    (raw content, named again in the answer's `Dictionary`), a base as a file that ranges continue.
    """
    if ZSTD in accept and (parcel := wired.parcels.get(sha256, against)) is not None:
        dictionary = {} if parcel.against is None else {"Dictionary": parcel.against}
        return Response(parcel.data, 200, {**_FOREVER, "Vary": "Accept", **dictionary}, ZSTD)
    with reading(wired.engine) as session:
        body = delivery.policy_body(session, sha256)
        base = body is None and session.get(BaseFile, sha256) is not None
    if body is not None:
        return Response(body, 200, _FOREVER, "application/json")
    if not base or not wired.bases.file(sha256).is_file():
        raise NotFound("This portal has no object of this digest.")
    if ZSTD in accept:
        return FileResponse(wired.bases.packed(sha256), media_type=ZSTD, headers=_FOREVER)
    return FileResponse(wired.bases.file(sha256), media_type="application/octet-stream", headers=_FOREVER)


@router.put("/objects/{sha256}", status_code=204, responses=problems(401, 404, 409, 422))
async def recalled(
    wired: Wired, node: Caller, sha256: Digest, request: Request, signature: Annotated[str, Header()]
) -> None:
    """A policy that this portal signed before it was restored, compressed with zstd; asked for by `event: recall`."""
    packed = await request.body()
    try:
        if not 0 <= zstandard.get_frame_parameters(packed).content_size <= restoration.MAX_BODY:
            raise zstandard.ZstdError("too large")
        body = zstandard.ZstdDecompressor().decompress(packed, max_output_size=restoration.MAX_BODY)
    except zstandard.ZstdError:
        raise Invalid("The body is not compressed with zstd, or is too large.") from None
    if hashlib.sha256(body).hexdigest() != sha256:
        raise Invalid("The body has another digest than its address says.")

    def keep() -> None:
        with transaction(wired.engine) as session:
            restoration.take_back(session, node, body, signature, wired.keys.current, wired.clock())
            after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))

    await run_in_threadpool(keep)


@router.post("/acks", status_code=204, responses=problems(401, 409, 422))
async def acks(wired: Wired, node: Caller, message: Ack) -> None:
    """Verified, persisted and swapped in by every worker. Sent again, it counts once."""
    refusal = await wired.receipts.take(node, message)
    if refusal is not None:
        raise Conflict(refusal)


@router.post("/nacks", status_code=204, responses=problems(401, 409, 422))
def nacks(wired: Wired, node: Caller, message: Nack) -> None:
    """Refused, and why: shown to administrators. The node keeps serving what it had."""
    now_ms = _now_ms(wired)
    with transaction(wired.engine) as session:
        refusal = reports.nack(session, node, message, now_ms)
        after_commit(session, lambda: wired.live.publish(Event(DELIVERY)))
    if refusal is not None:
        raise Conflict(refusal)


@router.post("/status", responses=problems(401, 422))
def status(wired: Wired, node: Caller, message: NodeStatus) -> Reach:
    """A heartbeat: health, and the node's clock. The answer says how far the newest version has come everywhere."""
    wired.jobs.heartbeat(node, Heartbeat(message, _now_ms(wired)))
    return wired.jobs.reach


def _now_ms(wired: Wired) -> int:
    return int(wired.clock() * 1000)
