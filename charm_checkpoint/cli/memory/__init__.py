"""``charm-checkpoint memory``: durable memories on the command line."""
