"""Snapshots: all memories in one file, and from there into any store."""
