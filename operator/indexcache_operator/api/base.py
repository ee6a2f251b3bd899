"""How the spec is written down: camelCase outside, snake_case inside, unknown fields refused; and the API's names."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "indexcache.dev"
VERSION = "v1alpha1"
KIND = "IndexCacheRollout"
PLURAL = "indexcacherollouts"


class ApiModel(BaseModel):
    """Base of the spec and its parts."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True)
