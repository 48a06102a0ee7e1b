"""OpenSSL's words for a server that does not speak TLS."""

from __future__ import annotations

NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""Reasons of an `ssl.SSLError` when the answer was not TLS."""
