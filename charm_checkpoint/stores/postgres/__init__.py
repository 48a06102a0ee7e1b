"""Postgres, by psycopg."""
