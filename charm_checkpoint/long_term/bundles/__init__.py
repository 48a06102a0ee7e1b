"""Bundles: memories that leave this machine, and those that come from others'."""
