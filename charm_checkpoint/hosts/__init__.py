"""Programs that bring their own way to name a store: Charm, LangGraph's server, PyInstaller."""
