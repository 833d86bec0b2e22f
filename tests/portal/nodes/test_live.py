"""Wake-ups from threads to streams: the newest counts, nobody waits, nothing is left behind."""

from __future__ import annotations

import asyncio
import threading

from blocklists.exchange import Offer
from portal.nodes.live import DELIVERY, OFFER, REQUESTS, Event, Live


def offer(version: int) -> Event:
    return Event(OFFER, offer=Offer(version=version, digest="0" * 64, signature="0" * 128, base="0" * 64))


def test_events_from_threads_reach_subscribers_of_their_topic() -> None:
    async def run() -> list[str]:
        live = Live()
        async with live.subscribe([DELIVERY, REQUESTS]) as events:
            threading.Thread(target=live.publish, args=(Event(DELIVERY),)).start()
            first = await events.next(10)
            live.publish(offer(1))
            live.publish(Event(REQUESTS, "request:1"))
            second = await events.next(10)
        assert first is not None and second is not None
        return [first.topic, second.topic]

    assert asyncio.run(run()) == [DELIVERY, REQUESTS]


def test_a_slow_reader_gets_the_newest_offer_only() -> None:
    async def run() -> list[int]:
        live = Live()
        found = []
        async with live.subscribe([OFFER], node=1) as events:
            for version in range(1, 1000):
                live.publish(offer(version))
            await asyncio.sleep(0)
            while (event := await events.next(0.01 if found else 5.0)) is not None:
                assert event.offer is not None
                found.append(event.offer.version)
        return found

    assert asyncio.run(run()) == [999]


def test_many_keys_are_bounded() -> None:
    async def run() -> int:
        live = Live()
        async with live.subscribe([REQUESTS]) as events:
            for number in range(1000):
                live.publish(Event(REQUESTS, f"request:{number}"))
            await asyncio.sleep(0)
            count = 0
            while await events.next(0.01) is not None:
                count += 1
        return count

    assert asyncio.run(run()) <= 64


def test_closing_ends_open_and_later_streams_and_a_cut_off_nodes_only() -> None:
    async def run() -> None:
        live = Live()
        async with live.subscribe([OFFER], node=1) as cut, live.subscribe([OFFER], node=2) as kept:
            assert live.nodes() == {1, 2}
            live.disconnect(1)
            assert await cut.next(10) is None and cut.closed
            assert not kept.closed
            threading.Thread(target=live.close).start()
            assert await kept.next(10) is None and kept.closed
        assert live.nodes() == frozenset()
        async with live.subscribe([OFFER]) as late:
            assert await late.next(10) is None and late.closed

    asyncio.run(run())


def test_a_loop_that_has_ended_is_passed_over() -> None:
    live = Live()

    async def leave() -> None:
        await live.subscribe([OFFER]).__aenter__()

    asyncio.run(leave())
    live.publish(offer(1))
