"""Ingest's side: CreateSession, and a chunk from its first read to its acknowledgement (protocol.md section 4)."""

from __future__ import annotations

from tests.model.checker import Local, Step
from tests.model.own_finish import OwnProgram, Steps
from tests.model.own_store import COMMIT, Decision, Own, World, upload_of
from tests.model.program import END, there


class Chunk(OwnProgram):
    """One stream with one chunk: ``version`` is its bytes and the ETag that this replica's part gets.

    ``mends``: it comes after CHUNK_NEEDED. ``creates``: CreateSession comes before it, by the same client.
    """

    def __init__(self, world: World, name: str, version: str, *, mends: bool = False, creates: bool = False) -> None:
        super().__init__(world, name)
        self.version = version
        self.upload = f"of {name}"
        self.mends = mends
        self.start = ("create",) if creates else ("told",) if mends else ("session",)

    def at_told(self, store: Own) -> Steps:
        """A client mends what it was told to mend."""
        if "NEEDED" in store.answers:
            yield Step("CHUNK_NEEDED is heard", store, ("session",))

    def _refused(self, store: Own) -> Own:
        """The stream ends with SESSION_SEALED."""
        if self.mends and store.session and not store.done and not store.limit:
            return store._replace(broken="I3: the client came back in time with what was needed, and was refused")
        return store

    # --- CreateSession ---

    def at_create(self, store: Own) -> Steps:
        """An unknown outcome takes a fresh id: what happens to that one is another session's story."""
        if not self.has("session.json is written first"):
            yield from self.at_multipart(store)
            return
        again: Local = END if self.has("create: a fresh id after an unknown outcome") else ("create",)
        yield from self.write(store, ("create", self.name), ("session",), again)

    def at_create_last(self, store: Own) -> Steps:
        """Only where the rule was removed: session.json follows the chunk."""
        yield from self.write(store, ("create", self.name), ("ack_decision",))

    # --- steps 1 to 4 ---

    def at_session(self, store: Own) -> Steps:
        yield Step(f"GET session: {there(store.session)}", store, ("decision",) if store.session else END)

    def at_decision(self, store: Own) -> Steps:
        decision = store.decision
        then: Local = ("receipts",)
        if self.mends and not self.has("no decision is never believed at the start of a stream"):
            decision = ()  # from a cache, of before the commit
        if decision:
            own = decision[0] == COMMIT and decision[3][0] == self.version[0]
            if own and self.has("a decision's own chunks are accepted"):
                then = ("mend_done", decision)
            else:
                then, store = END, self._refused(store)
        yield Step(f"GET decision: {there(' '.join(decision))}", store, then)

    def at_receipts(self, store: Own) -> Steps:
        """Other bytes under the index: a conflict. The same: a duplicate."""
        found = {version[0] for version in store.receipts}
        note = f"LIST receipts: {there(' '.join(sorted(store.receipts)))}"
        if found - {self.version[0]}:
            yield Step(f"{note} -> CHUNK_CONFLICT", store, END)
        elif found:
            yield Step(f"{note}, a duplicate", store, ("ack_decision",))
        else:
            yield Step(note, store, ("multipart",))

    # --- step 5: the multipart upload ---

    def at_multipart(self, store: Own) -> Steps:
        then: Local = ("part", store.multipart) if store.multipart else ("create_upload",)
        yield Step(f"GET multipart: {there(store.multipart)}", store, then)

    def at_create_upload(self, store: Own) -> Steps:
        after = store._replace(uploads=store.uploads | {(self.upload, "")})
        yield Step(f"CreateMultipartUpload {self.upload}", after, ("put_multipart",))

    def at_put_multipart(self, store: Own) -> Steps:
        won: Local = ("part", self.upload) if not store.multipart else ("read_multipart",)
        unknown: Local = ("read_multipart",)
        if not self.has("multipart.json: abort your own only when it was read"):
            unknown = ("abort_own", "")
            won = won if not store.multipart else ("abort_own", "")
        yield from self.write(store, ("multipart", self.upload), won, unknown, note=": 412" if store.multipart else "")

    def at_read_multipart(self, store: Own) -> Steps:
        then: Local
        if not store.multipart:
            then = ("put_multipart",)
        elif store.multipart == self.upload:
            then = ("part", self.upload)
        else:
            then = ("abort_own", store.multipart)
        yield Step(f"GET multipart: {there(store.multipart)}", store, then)

    def at_abort_own(self, store: Own, use: str) -> Steps:
        then: Local = ("part", use) if use else ("multipart",)
        yield from self.write(store, ("abort", self.upload, "lost the race"), then)

    def at_part(self, store: Own, upload: str) -> Steps:
        if upload_of(store, upload) is None:
            yield Step(f"UploadPart {upload}: NoSuchUpload", store, END)
        else:
            request = ("part", upload, self.version)
            yield from self.write(store, request, ("receipt",), ("part", upload))

    # --- steps 6 and 7 ---

    def at_receipt(self, store: Own) -> Steps:
        then: Local = ("ack_decision",) if self.has("session.json is written first") else ("create_last",)
        if not self.has("step 7: decision.json, then session.json, before OK"):
            then = ("ack",)
        elif not self.has("step 7: in this order"):
            then = ("ack_session_first",)
        yield from self.write(store, ("receipt", self.version), then, ("receipt",))

    def at_ack_session_first(self, store: Own) -> Steps:
        """Only where the order was removed."""
        yield Step(f"GET session: {there(store.session)}", store, ("ack_decision_last",) if store.session else END)

    def at_ack_decision_last(self, store: Own) -> Steps:
        note = f"GET decision: {there(' '.join(store.decision))}"
        yield self._ack(store, note) if not store.decision else Step(note, store, END)

    def at_ack_decision(self, store: Own) -> Steps:
        note = f"GET decision: {there(' '.join(store.decision))}"
        yield Step(note, self._refused(store), END) if store.decision else Step(note, store, ("ack_session",))

    def at_ack_session(self, store: Own) -> Steps:
        note = f"GET session: {there(store.session)}"
        yield self._ack(store, note) if store.session else Step(note, store, END)

    def at_ack(self, store: Own) -> Steps:
        yield self._ack(store, "")

    def _ack(self, store: Own, note: str) -> Step[Own]:
        broken = ""
        if self.version[0] not in store.covered:
            broken = "I5: a chunk was acknowledged that was never stored in an open session"
        acked = store.acked | {self.version}
        return Step(f"{note} -> OK", store._replace(acked=acked, broken=store.broken or broken), END)

    # --- mending: UploadPart only ---

    def at_mend_done(self, store: Own, decision: Decision) -> Steps:
        then: Local = END if store.done or not store.session else ("mend", decision)
        yield Step(f"GET done: {there(store.done)}, GET session: {there(store.session)}", store, then)

    def at_mend(self, store: Own, decision: Decision) -> Steps:
        upload = decision[2]
        if upload_of(store, upload) is None:
            yield Step(f"UploadPart {upload}: NoSuchUpload", store, END)
            return
        yield from self.write(store, ("part", upload, self.version), ("mended",), ("mend", decision))

    def at_mended(self, store: Own) -> Steps:
        yield Step(f"GET session: {there(store.session)} -> mended", store, END)
