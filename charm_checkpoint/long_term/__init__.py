"""Durable memories: what an agent is to know in later threads, kept on long-term memory of any store."""
