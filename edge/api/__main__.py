"""Write the documents: `python -m edge.api`."""

from __future__ import annotations

from edge.api.files import current, path_of

for name, text in current().items():
    path_of(name).write_text(text)
