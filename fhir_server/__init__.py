"""A FHIR R4 interoperability server for the journey from a public booking to ongoing care."""
