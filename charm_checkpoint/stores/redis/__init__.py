"""Redis and Valkey: one server, a cluster or sentinels."""
