"""What sealane costs and how fast it is, measured on real processes and a real store, beside the plain S3 SDK.

``python -m bench all`` runs everything and prints a table; ``python -m bench --help`` says the rest. Figures that were
measured, and the commands that measured them, are in docs/capacity.md.

Manners of every measurement here:

* monotonic clocks; one warm-up that doesn't count; medians with the least and the greatest beside them;
* whoever is compared takes turns in one run, in an order that rotates, on the same file and the same store;
* targets are printed beside what was measured, and never decide whether a figure is printed.
"""
