"""Demo clinics and the import of Bundles and NDJSON."""
