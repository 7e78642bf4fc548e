"""Deleting all under a prefix: every page is followed, however short it is, and LIST has the last word."""

from __future__ import annotations

import random

import pytest
from assembly_faults import Fault, refuses
from assembly_time import run
from assembly_world import TENANT, World

from assembly_service.confirmed import abort_confirmed, delete_all_confirmed
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchUpload, ObjectPage
from sealane.store.retry import RetryingStore
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket


class ShortPages(SimulatedStore):
    """Pages of at most ``longest`` keys; with ``hollow`` each is followed by an empty one that is not the last."""

    def __init__(self, bucket: SimulatedBucket, *, longest: int, hollow: bool) -> None:
        super().__init__(bucket)
        self.longest, self.hollow = longest, hollow

    async def list_objects(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        if self.hollow and cursor is not None and not cursor.startswith("hollow "):
            return ObjectPage([], "hollow " + cursor)
        inner = cursor.removeprefix("hollow ") if cursor else None
        return await super().list_objects(
            prefix, timeout=timeout, cursor=inner, start_after=start_after, limit=min(limit, self.longest)
        )


def test_an_abort_that_is_answered_no_such_upload_is_believed_once_list_parts_says_so_too() -> None:
    """⚠ Section 6: "DELETE, Abort: anything: confirm"."""

    async def main() -> None:
        world = World()
        session = await world.session()
        faults = Fault("abort_multipart", session.record.key, refuses(NoSuchUpload()))
        store = RetryingStore(SimulatedStore(world.bucket, faults=faults), rng=random.Random(1))
        await abort_confirmed(store, session.record.key, session.upload_id, Deadline.after(60))
        assert world.bucket.open_uploads() == []

    run(main())


@pytest.mark.parametrize("hollow", [False, True], ids=["short pages", "empty pages"])
@pytest.mark.parametrize("longest", [1, 2])
def test_a_page_that_is_short_or_empty_or_holds_only_what_stays_is_followed_to_the_next(
    longest: int, hollow: bool
) -> None:
    """The port: a page that is not the last has a cursor, whatever its length. The purge must end on any such store."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        decision = keys.record(TENANT, session.id, keys.DECISION)
        count = len(world.names(session))
        store = RetryingStore(ShortPages(world.bucket, longest=longest, hollow=hollow), rng=random.Random(1))
        deleted = await delete_all_confirmed(
            store, keys.session_prefix(TENANT, session.id), Deadline.after(60), but=decision
        )
        assert deleted == count - 1
        assert world.names(session) == [keys.DECISION]

    run(main())
