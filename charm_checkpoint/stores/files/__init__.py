"""Local files: a folder that may be synced, mounted or in git."""
