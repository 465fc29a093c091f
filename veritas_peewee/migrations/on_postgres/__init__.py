"""The numbered scripts of the schema on PostgreSQL."""
