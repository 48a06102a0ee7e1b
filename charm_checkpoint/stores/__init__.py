"""The stores: a room each, or a module."""
