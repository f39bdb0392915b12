"""What can be set: the schema, the grammar of settings and grids, and the presets of tasks."""
