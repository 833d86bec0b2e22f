"""Server-sent events that end well: a stream's last byte is sent when the server is told to stop, within a second.

Without this a stopping server waits for its streams, or cuts them in the middle of a message.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import cast

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent

from portal.nodes.live import Live

GRACE = 1.0  # seconds for a stream to end by itself


class _Closing:
    """Stands where the library sets an event at shutdown: it ends the wake-ups, and every stream with them."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def set(self) -> None:
        self._live.close()


def event_source(live: Live, events: AsyncIterable[ServerSentEvent], ping: int) -> EventSourceResponse:
    """Return the response that sends `events`, made by a subscriber of `live`; a comment every `ping` seconds."""
    closing = cast(anyio.Event, _Closing(live))
    return EventSourceResponse(events, ping=ping, shutdown_event=closing, shutdown_grace_period=GRACE)
