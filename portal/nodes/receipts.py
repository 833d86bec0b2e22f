"""Acknowledgements that come together are committed together.

After a publication hundreds of nodes acknowledge within a moment. Each waits until its ack is committed, but while one
transaction is under way the others queue, and the next takes them all: one write to the disk instead of hundreds. A
lone ack waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.concurrency import run_in_threadpool

from blocklists.exchange import Ack

Waiting = tuple[int, Ack]  # the node, what it says
Refusals = Sequence[str | None]  # in the same order: None, or why an ack does not count
MOST = 500  # of one transaction


class Receipts:
    """Belongs to the web server's event loop. `write` runs in a thread and commits a batch; what it raises, every
    member of the batch raises."""

    def __init__(self, write: Callable[[Sequence[Waiting]], Refusals]) -> None:
        self._write = write
        self._queue: list[tuple[Waiting, asyncio.Future[str | None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def take(self, node: int, message: Ack) -> str | None:
        """Return once the ack is committed: None, or why it does not count."""
        mine: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._queue.append(((node, message), mine))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        return await mine

    async def _write_all(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:MOST], self._queue[MOST:]
            try:
                refusals = await run_in_threadpool(self._write, [one for one, _ in batch])
            except Exception as error:
                for _, waiting in batch:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            for (_, waiting), refusal in zip(batch, refusals, strict=True):
                if not waiting.done():  # its connection may be gone
                    waiting.set_result(refusal)
