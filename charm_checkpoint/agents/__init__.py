"""Durable memories in an agent: what recalls them for a model, and what writes them down."""
