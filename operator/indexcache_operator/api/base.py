"""How the API's types are written down: camelCase outside, snake_case inside, unknown fields refused."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "indexcache.dev"
VERSION = "v1alpha1"
KIND = "IndexCacheRollout"
PLURAL = "indexcacherollouts"


class ApiModel(BaseModel):
    """Base of spec and status."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True)
