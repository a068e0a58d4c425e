"""`/v1` and its description: for programs that ask for recalls and look after them.

One module per resource (`recalls`, `accounts`, `parked`); `models` are what is taken and given, `operations`
and `openapi` describe it. Never imports the workers: what it needs of them is handed in.
"""

from integration.api.blueprint import api_blueprint

__all__ = ["api_blueprint"]
