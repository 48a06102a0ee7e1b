"""LangGraph's store of long-term memory: its methods, and the flows that they are made of."""
