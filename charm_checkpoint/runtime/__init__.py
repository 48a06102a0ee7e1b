"""Building blocks that know nothing of stores: clocks, caches, forks, lifecycles, leases, event loops, threads."""
