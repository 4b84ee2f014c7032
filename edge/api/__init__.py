"""The machine-readable protocol: `asyncapi.json` (WebSocket) and `openapi.json` (HTTP), made from the models.

`python -m edge.api` writes both; a test fails when they are not current. The edge serves them as they are.
"""
