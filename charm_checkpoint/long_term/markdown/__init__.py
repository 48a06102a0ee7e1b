"""Memories in folders of Markdown files, as Cantrip has them."""
