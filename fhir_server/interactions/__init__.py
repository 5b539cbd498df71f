"""One module per FHIR interaction; each sees only a Repository."""
