"""Objects of the Kubernetes API, as they travel."""

from typing import Any

Object = dict[str, Any]
"""One object, or a part of one, as plain JSON: the API server alone says which fields it has."""
