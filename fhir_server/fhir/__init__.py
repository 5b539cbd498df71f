"""FHIR itself, without I/O: JSON, references, outcomes, patches, clock."""
