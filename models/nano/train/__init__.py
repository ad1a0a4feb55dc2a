"""Data, stages and recipe that train nano (needs the export extra)."""
