"""conf/kgspark.schema.json: the JSON Schema with which editors complete and check a configuration."""

import json
from typing import Any

from kgspark.night.settings import NightSettings

# Further forms that a section's validator accepts.
_SHORT_FORMS = {"EndSettings": {"type": "string"}, "Dimension": {"type": "array"}, "MovieTable": {"type": "string"}}


def json_schema() -> str:
    """The text of conf/kgspark.schema.json."""
    schema = _for_partial_files(NightSettings.model_json_schema())
    for name, form in _SHORT_FORMS.items():
        schema["$defs"][name] = {"anyOf": [form, schema["$defs"][name]]}
    weight = schema["$defs"]["RelationSettings"]["properties"]["weight"]
    weight["type"] = ["string", "number"]
    for name in ("relations", "tables", "space"):
        _take_null(schema, name)
    return json.dumps(schema | {"title": "kgspark: a night"}, indent=2, ensure_ascii=False) + "\n"


def _for_partial_files(value: Any) -> Any:
    """The schema without `required`: a file contains some keys, and the command line may give the others."""
    if isinstance(value, dict):
        return {
            key: _for_partial_files(below)
            for key, below in value.items()
            if not (key == "required" and isinstance(below, list))
        }
    return [_for_partial_files(below) for below in value] if isinstance(value, list) else value


def _take_null(schema: dict[str, Any], mapping: str) -> None:
    """Allows `name: null`, which removes an entry of the mapping."""
    for section in (schema, *schema["$defs"].values()):
        entries = section.get("properties", {}).get(mapping, {})
        if "additionalProperties" in entries:
            entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
