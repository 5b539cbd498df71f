"""R4 definitions (compiled), profiles, value sets and the validator."""
