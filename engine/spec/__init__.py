"""The study as data: frozen pydantic models, a file per section. Neither torch nor Ray is imported here."""
