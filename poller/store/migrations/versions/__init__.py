"""One script per version of the schema. Version 1 has none."""
