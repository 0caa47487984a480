"""Raw tables in a database: a DuckDB file, or a PostgreSQL server. Rows are streamed; nothing is written."""
