"""One local page over a store: its threads, their time lines, states and memories. Needs the extra ``ui``."""
