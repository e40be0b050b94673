"""A Ray cluster of two nodes with one CPU each, on this machine alone, until standard input ends.

The first line of standard output is its address. Runs on the second node find `SECOND` in their environment, which they
may kill; the command that asks for runs is joined to the first.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

SECOND = "DOMAINMETRIC_TEST_SECOND_NODE"


def main() -> None:
    cluster = Cluster()
    for options in ({"include_dashboard": False}, {"env_vars": {SECOND: "1"}}):
        cluster.add_node(num_cpus=1, **options)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
