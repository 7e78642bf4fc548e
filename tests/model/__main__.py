"""``make model``: every instance, then every mutation."""
from __future__ import annotations
import sys
from tests.model.own_instances import OWN
from tests.model.key_instances import KEY
for instance in (*KEY, *OWN) if len(sys.argv)<3 else [i for i in (*KEY,*OWN) if sys.argv[2] in i.name]:
    for losses in range(instance.losses+1) if len(sys.argv)<2 else (int(sys.argv[1]),):
        v = instance.run(losses=losses)
        print(f"{instance.name:36} {losses} {v.states:>10,} {v.transitions:>11,} {v.stores:>8,} {v.seconds:7.1f}s {v.violation or 'holds'}",flush=True)
        if v.violation:
            for l in v.trace: print("    ",l)
