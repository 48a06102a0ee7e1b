"""What Postgres and Supabase share: the schema, its functions, and the backend that calls them."""
