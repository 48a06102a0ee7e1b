"""``charm-checkpoint items``: the items of LangGraph's store, long-term memory as programs put it there."""
