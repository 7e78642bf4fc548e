"""The invariants of one session at a key of its own, each as a predicate on one state (protocol.md section 9)."""

from __future__ import annotations

from tests.model.own_store import COMMIT, DONE, LOST, Own, upload_of


def violated(store: Own) -> str:
    """I1 to I9, I10, I11. The calls themselves report I1, I5, I7, I9, I10 and I11."""
    return store.broken or _object(store) or _answers(store) or _loss(store) or _acknowledged(store)


def _object(store: Own) -> str:
    if not store.object:
        return ""
    if store.decided[:1] != (COMMIT,):
        return "I2: an object is visible without a decision to COMMIT"
    if store.object[0] != store.decided[3][0]:
        return "I4: the object's bytes are not those that were decided"
    if store.done == LOST:
        return "I8: LOST is on record, and the object is there"
    if "DELETED" in store.answers:
        return "I9: the deletion was answered, and the object is there"
    return ""


def _answers(store: Own) -> str:
    successes = [answer for answer in store.answers if answer.startswith("OK")]
    if len(successes) > 1:
        return f"I6: two successful answers: {successes}"
    if successes and successes[0] != f"OK {store.decided[1]}":
        return f"I6: {successes[0]} was answered, and {store.decided[1]} was decided"
    negative = store.answers & {"ABORTED", "EXPIRED", "LOST"}
    if negative and "object" in store.ever:
        return f"I8: {min(negative)} was answered of a session whose object was there"
    if "NOT_FOUND" in store.answers and store.object and "delete asked" not in store.ever:
        return "I8: NOT_FOUND was answered, and the object is there"
    return ""


def _loss(store: Own) -> str:
    if store.done == LOST and store.session and not store.ever & {"upload lost", "overwritten at the limit"}:
        return "I3: LOST, though the store lost nothing and the client mended in time"
    return ""


def _acknowledged(store: Own) -> str:
    """I5: until a decision, what was acknowledged has its receipt, and its part in the upload that is named."""
    if not store.acked or store.decided or not store.session or "upload lost" in store.ever:
        return ""
    stored = {version[0] for version in store.receipts}
    sent = {version[0] for version in store.acked}
    if not sent <= stored:
        return "I5: an acknowledged chunk has no receipt any more"
    named = upload_of(store, store.multipart)
    if named is None or not named[1]:  # other bytes than the acknowledged are the client's own doing
        return "I5: an acknowledged chunk has no part in the upload that is named"
    return ""


def unsettled(store: Own) -> str:
    """What fresh replicas must be able to reach: finished, or gone without a trace (I3, I9)."""
    if store.session:
        if store.done == DONE and not store.deleted and store.object and not store.receipts:
            return ""
        if store.decided[:1] == (COMMIT,) and not store.done:
            return "I3: a decision to COMMIT can't be finished"
        return "I9: the session can't come to an end"
    if store.object:
        return "I9: an object is left without its records"
    if store.uploads or store.multipart or store.receipts or store.decision or store.done or store.deleted:
        return "I9: something of a session that is gone is left for ever"
    return ""
