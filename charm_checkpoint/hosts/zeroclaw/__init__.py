"""ZeroClaw: its settings, its environment variables, its memories and its words for them."""
