"""The language: YAML with places, declared parameters, errors in words."""
