"""`/v1` and its OpenAPI document, for programs that create and manage recalls.

There is one module for each resource (`recalls`, `accounts`, `parked`). `models` has the requests and
responses; `operations` and `openapi` describe them.
"""

from integration.api.blueprint import api_blueprint

__all__ = ["api_blueprint"]
