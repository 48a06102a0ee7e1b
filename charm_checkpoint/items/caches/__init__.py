"""Caches on a store: LangGraph's of nodes' results, and LangChain's of models' answers."""
