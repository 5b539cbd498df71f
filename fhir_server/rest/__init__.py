"""HTTP: the interaction table, the pipeline, negotiation and headers."""
