"""One portable file of threads, messages and long-term memory: docs/moving.md describes its form."""
