"""The table of changes: its rows, by the headings that the manual has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from changes import rows_enums, rows_fields, rows_graphs, rows_names, rows_types
from changes.rows import Row, Story

PARTS: Mapping[str, Sequence[Row | Story]] = {
    "fields": rows_fields.ROWS,
    "types": rows_types.ROWS,
    "enums": rows_enums.ROWS,
    "names": rows_names.ROWS,
    "graphs": rows_graphs.ROWS,
}
"""The rows of each table of the page, by its name there."""

ROWS = [row for rows in PARTS.values() for row in rows]
