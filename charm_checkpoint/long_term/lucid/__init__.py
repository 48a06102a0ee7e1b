"""A bridge to the external command ``lucid``: local memories first, the command beside them."""
