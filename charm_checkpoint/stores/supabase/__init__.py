"""Supabase over its HTTP API."""
