"""Long-term memory, over the items of a store: LangGraph's BaseStore, with search, and caches."""
