"""All parts of assembly put together, on any store and any source of receipts: what serves, and what is simulated."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from assembly_service.abort import Aborter
from assembly_service.audit import Auditor
from assembly_service.audit_claims import ClaimAudit
from assembly_service.audit_objects import ObjectAudit
from assembly_service.audit_session import SessionAudit
from assembly_service.claiming import Claimant
from assembly_service.claims import Claims
from assembly_service.commit import Committer
from assembly_service.delete import Deleter
from assembly_service.delete_chosen import TombstoneRelease
from assembly_service.events import Events
from assembly_service.explain import Explainer
from assembly_service.get_key import KeyReader
from assembly_service.names import Names
from assembly_service.orphans import Orphans
from assembly_service.outcome import Outcomes
from assembly_service.patrol import Pace, Patrol
from assembly_service.purge import Purge
from assembly_service.retention import Retention
from assembly_service.roll_forward import RollForward
from assembly_service.statistics import Statistics
from assembly_service.sweep import Sweep
from assembly_service.tombstone import Tombstones
from assembly_service.upload import Uploads
from assembly_service.verify import ReceiptsClient, Verifier
from assembly_service.verify_object import ObjectVerifier
from sealane.domain.ids import Entropy
from sealane.domain.limits import Limits
from sealane.store.backoff import RetryPolicy
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords


@dataclass(frozen=True, slots=True)
class Assembly:
    """One replica's parts. They share nothing but the store; each may be called any number of times at once."""

    records: SessionRecords
    verifier: Verifier
    committer: Committer
    claimant: Claimant
    key_reader: KeyReader
    outcomes: Outcomes
    aborter: Aborter
    deleter: Deleter
    object_verifier: ObjectVerifier
    sweep: Sweep
    patrol: Patrol
    auditor: Auditor
    explainer: Explainer

    @classmethod
    def on(
        cls,
        store: RetryingStore,
        receipts: ReceiptsClient,
        *,
        rng: random.Random,
        events: Events,
        limits: Limits | None = None,
        retention: Retention | None = None,
        pace: Pace | None = None,
        policy: RetryPolicy | None = None,
        verify_block_bytes: int = 1 << 20,
        may_sweep: Callable[[], bool] = lambda: True,
        entropy: Entropy | None = None,
        statistics: Statistics | None = None,
    ) -> Assembly:
        """``rng`` jitters pauses; ``entropy`` makes the ids of tombstones. ``may_sweep``: see :class:`Patrol`."""
        retention = retention or Retention()
        statistics = statistics or Statistics()
        records = SessionRecords(store)
        roll_forward = RollForward(
            store,
            records,
            rng=rng,
            events=events,
            retention=retention,
            policy=policy,
            tombstones=Tombstones(store, records, rng=rng, events=events, policy=policy),
            statistics=statistics,
        )
        claims, names = Claims(store, records), Names(store)
        claimant = Claimant(
            store, records, claims=claims, names=names, roll_forward=roll_forward, rng=rng, policy=policy
        )
        verifier = Verifier(records, receipts, limits=limits or Limits(), rehearsal=claimant)
        purge = Purge(store, records, events=events, retention=retention, statistics=statistics)
        sweep = Sweep(
            store,
            records,
            roll_forward=roll_forward,
            purge=purge,
            claims=claims,
            events=events,
            retention=retention,
            statistics=statistics,
        )
        orphans = Orphans(store, records, events=events, retention=retention, statistics=statistics)
        pace = pace or Pace()
        return cls(
            records=records,
            verifier=verifier,
            committer=Committer(
                store,
                records,
                verifier=verifier,
                uploads=Uploads(store, records),
                claimant=claimant,
                roll_forward=roll_forward,
                statistics=statistics,
            ),
            claimant=claimant,
            key_reader=KeyReader(store, claims=claims, names=names),
            outcomes=Outcomes(store, records),
            aborter=Aborter(records, statistics),
            deleter=Deleter(
                store,
                records,
                roll_forward=roll_forward,
                purge=purge,
                release=TombstoneRelease(
                    store,
                    records,
                    claims=claims,
                    claimant=claimant,
                    roll_forward=roll_forward,
                    purge=purge,
                    events=events,
                    entropy=entropy or rng.randbytes,
                ),
            ),
            object_verifier=ObjectVerifier(
                store, records, claims=claims, events=events, block_bytes=verify_block_bytes
            ),
            sweep=sweep,
            patrol=Patrol(
                store,
                records,
                sweep=sweep,
                orphans=orphans,
                rng=rng,
                events=events,
                retention=retention,
                pace=pace,
                may_run=may_sweep,
                statistics=statistics,
            ),
            explainer=Explainer(store, records, receipts, claims=claims, retention=retention),
            auditor=Auditor(
                store,
                of_sessions=SessionAudit(
                    store,
                    records,
                    claims=claims,
                    events=events,
                    retention=retention,
                    slack=timedelta(seconds=2 * pace.full_interval),
                ),
                of_objects=ObjectAudit(claims=claims, events=events),
                of_claims=ClaimAudit(store, events=events),
                orphans=orphans,
                purge=purge,
                sweep=sweep,
                events=events,
            ),
        )
