"""``python -m tests.compatibility.freeze`` freezes the bucket of the records' present VERSION: once, when it is new."""

from __future__ import annotations

import asyncio
import json
import sys

from sealane.domain.record_fields import VERSION
from sealane.store.simulated import SimulatedStore
from tests.compatibility.frozen import HERE, dump
from tests.compatibility.scenes import Scenes, answers
from tests.hostile.world import world


async def main() -> int:
    file = HERE / f"v{VERSION}" / "bucket.json"
    if file.exists():
        print(f"{file} is frozen: what it holds was written, and must be read for ever", file=sys.stderr)
        return 1
    store = SimulatedStore()
    async with world(store) as running:
        scenes = Scenes(running, store)
        await scenes.all()
        frozen = dump(store.state, store.now(), await answers(running, scenes.made))
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(frozen, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{file}: {len(frozen['objects'])} objects, {len(frozen['uploads'])} uploads")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
