"""Does the simulation see anything? Guards are taken out of a copy of the code, one at a time, until a seed fails.

``python -m tests.simulation.guards [--most N] [NAME…]`` prints, for each guard, how many seeds that took.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COPIED = ("sealane", "ingest_service", "assembly_service", "tests/simulation")


@dataclass(frozen=True, slots=True)
class Guard:
    """``text`` in ``path`` (the only one there) is replaced by ``without``.

    ``pair`` of :mod:`tests.simulation.pairs` is tried, with one preemption, if no seed sees it.
    """

    name: str
    path: str
    text: str
    without: str
    pair: str = ""


GUARDS = (
    Guard(
        "If-None-Match on decision.json and the other records",
        "sealane/store/session_records.py",
        "            await store.put_if_absent(key, body, deadline)",
        "            await store.put(key, body, deadline)",
    ),
    Guard(
        "C5: session.json again after the decision",
        "assembly_service/commit.py",
        "            return await self._obey(tenant, session, standing, parameters, deadline)",
        "            return stand(Snapshot(found, decision=standing), parameters)",
        "commit of an empty object",
    ),
    Guard(
        "session.json again in a snapshot that has a decision",
        "sealane/store/session_records.py",
        "        if (decision is not None or told) and await self.session(tenant, session, deadline) is None:",
        "        if False:",
    ),
    Guard(
        "an abort obeys the decision that stands, and reads session.json after it",
        "assembly_service/abort.py",
        "            if await self._records.session(tenant, session, deadline) is None:",
        "            if False:",
    ),
    Guard(
        "done.json before the answer",
        "assembly_service/roll_forward.py",
        "        standing = await self._records.settle_done(work.tenant, work.session_id, done, work.deadline)\n"
        "        if standing.record != done:",
        "        if False:",
    ),
    Guard(
        "CMU says NoSuchUpload: HEAD, a few times, before that is believed",
        "assembly_service/roll_forward.py",
        "                for look in range(1, HEADS_BEFORE_LOST):",
        "                return await self._lost(work, 'gone')\n"
        "                for look in range(1, HEADS_BEFORE_LOST):",
    ),
    Guard(
        "gone, then HEAD, before LOST",
        "assembly_service/roll_forward.py",
        "                    if (head := await self._own_head(work)) is not None:\n"
        "                        return await self._settle(work, head)\n"
        '                    return await self._lost(work, "the store lost the multipart upload")',
        '                    return await self._lost(work, "the store lost the multipart upload")',
    ),
    Guard(
        "part before receipt",
        "ingest_service/part_upload.py",
        "            etag = await self._upload(target, upload_id, chunk.index, data, hashes, deadline)",
        "            import hashlib\n\n"
        "            etag = hashlib.md5(data, usedforsecurity=False).hexdigest()\n"
        "            early = Receipt(\n"
        "                chunk.index, chunk.length, hashes.blake3, hashes.chaining_value, hashes.sha256, etag\n"
        "            )\n"
        "            await self._receipts.put(target.tenant, target.session, early, deadline)\n"
        "            etag = await self._upload(target, upload_id, chunk.index, data, hashes, deadline)",
    ),
    Guard(
        "a chunk's BLAKE3 is what the client declared",
        "ingest_service/hashing.py",
        "        if actual != declared:",
        "        if False:",
    ),
    Guard(
        "other bytes under a stored index are a conflict",
        "ingest_service/part_upload.py",
        "            if receipt.blake3 != chunk.declared or receipt.length != chunk.length:",
        "            if False:",
    ),
    Guard(
        "the decision's own chunks alone may mend it",
        "ingest_service/part_upload.py",
        "        if not decision.accepts(chunk.index, chunk.length, hashes.blake3):",
        "        if False:",
    ),
    Guard(
        "before a stream's answer: decision absent, session present",
        "ingest_service/receive.py",
        "        await self._services.standing.confirm(target, self._deadline, mended=mended)\n",
        "",
    ),
    Guard(
        "the merged digest is the declared one",
        "assembly_service/verify.py",
        "    if not hmac.compare_digest(digest, parameters.blake3):",
        "    if False:",
    ),
    Guard(
        "before a refusal: the decision again",
        "assembly_service/verify.py",
        "        standing = stand(await read_session_last(self._records, tenant, session, deadline), parameters)\n"
        "        if standing.state is not SessionState.OPEN:\n            return standing\n",
        "",
    ),
    Guard(
        "the upload that multipart.json names, not one's own",
        "ingest_service/multipart.py",
        "        self._ids.put(key, standing.record.upload_id)\n        return standing.record.upload_id",
        "        return ours if 'ours' in locals() else standing.record.upload_id",
    ),
    Guard(
        "one's own upload is aborted only if the record names another",
        "ingest_service/multipart.py",
        "            if standing.record.upload_id != ours:",
        "            if True:",
    ),
    Guard(
        "after an unknown PUT of session.json: another id",
        "ingest_service/create.py",
        "            session = ids.new_session_id(self._entropy)\n",
        "            session = ids.new_session_id(self._entropy) if attempt == 1 else session\n",
    ),
    Guard(
        "an abort is confirmed by ListParts",
        "assembly_service/confirmed.py",
        "        return not await upload_exists(store, key, upload_id, deadline)",
        "        return True",
    ),
    Guard(
        "an upload without multipart.json proves nothing",
        "assembly_service/orphans.py",
        "        return multipart is not None and multipart.record.upload_id != upload_id",
        "        return multipart is None or multipart.record.upload_id != upload_id",
    ),
    Guard(
        "the decision is deleted last",
        "assembly_service/purge.py",
        "        await self._delete(tenant, session, keys.MULTIPART, deadline, removed)  # ⚠ in this order, see",
        "        await delete_confirmed(self._store, keys.record(tenant, session, keys.DECISION), deadline)",
    ),
    Guard(
        "grace before a session expires",
        "assembly_service/sweep.py",
        "+ timedelta(seconds=record.ttl) + self._retention.grace",
        "+ timedelta(seconds=record.ttl)",
    ),
    Guard(
        "the outcome retention",
        "assembly_service/purge.py",
        "        if not at_once and self._store.now() <= due:\n            return due",
        "        if False:\n            return due",
    ),
    Guard(
        "the deadline ends every wait",
        "sealane/store/backoff.py",
        "            if pause >= deadline.remaining():\n                raise\n",
        "",
    ),
    Guard(
        "a chunk's memory is leased before it is read",
        "ingest_service/admission.py",
        "        return self.in_use + length <= size and (",
        "        return True or (",
    ),
    Guard(
        "nothing replaces what sealane did not write",
        "assembly_service/claiming.py",
        "        foreign = head is not None and not is_of(head, present)\n",
        "        foreign = False\n",
    ),
    Guard(
        "a vacant key with somebody's objects below it is refused",
        "assembly_service/names.py",
        "            if wanted is Nature.OBJECT and known is not Nature.FOLDER:",
        "            if False:",
    ),
    Guard(
        "an audit asks again for an object without records",
        "assembly_service/audit_session.py",
        "            if await self._head(listed_object.key, deadline) is not None:\n"
        '                text = "An object of a session that has no records',
        '            if True:\n                text = "An object of a session that has no records',
    ),
    Guard(
        "a remembered session is one tenant's",
        "ingest_service/standing.py",
        "        target = self._targets.get(key)\n",
        '        target = self._targets.get((Tenant("acme"), session))\n',
    ),
    Guard(
        "a service acts for the tenant that it names, and a client for its own",
        "sealane/identity/caller.py",
        "        return caller.tenant, caller.roles\n",
        '        return ids.tenant("acme"), caller.roles\n',
    ),
)


def _copy() -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="sealane-guards-"))
    for name in _COPIED:
        shutil.copytree(ROOT / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
    return scratch


def _seeds_until_found(scratch: Path, most: int, first: int) -> tuple[int | None, str]:
    """(Seeds until a violation, what it was); None if there was none."""
    step = 100
    for start in range(first, first + most, step):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--jobs", "1", "--start", str(start), "-n", str(step)],
            cwd=scratch,
            env=os.environ | {"PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        found = [line.split() for line in done.stdout.splitlines() if "SEED=" in line]
        if found:
            seed = int(found[0][2].removeprefix("SEED="))
            return seed - first + 1, " ".join(found[0][3:])
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    return None, ""


def _schedules_that_fail(scratch: Path, pair: str) -> str:
    """What the interleavings of ``pair`` say; "" if they see nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.points", "--no-points", "--preemptions", "1", "--only", pair],
        cwd=scratch,
        env=os.environ | {"PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[-1] if done.returncode else ""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.simulation.guards", description=__doc__)
    arguments.add_argument("--most", type=int, default=2000, help="seeds to try for each guard")
    arguments.add_argument("--start", type=int, default=0)
    arguments.add_argument("names", nargs="*", help="only guards whose names contain one of these")
    given = arguments.parse_args()
    unseen = 0
    for guard in GUARDS:
        if given.names and not any(name in guard.name for name in given.names):
            continue
        scratch = _copy()
        try:
            path = scratch / guard.path
            text = path.read_text(encoding="utf-8")
            if text.count(guard.text) != 1:
                print(f"?      {guard.name}: not in the code any more", flush=True)
                unseen += 1
                continue
            path.write_text(text.replace(guard.text, guard.without), encoding="utf-8")
            began = time.monotonic()
            seeds, what = _seeds_until_found(scratch, given.most, given.start)
            if seeds is None and guard.pair:
                what = _schedules_that_fail(scratch, guard.pair)
        finally:
            shutil.rmtree(scratch)
        unseen += seeds is None and not what
        shown = str(seeds) if seeds is not None else "pair" if what else "unseen"
        print(f"{shown:6} {guard.name}  ({time.monotonic() - began:.0f} s)  {what[:120]}", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
