"""A FHIR R4 interoperability server for the journey from a public booking to ongoing care."""

import gc

# Young objects before the collector of cycles runs, and how often it looks at older ones. What is loaded at the start
# lives as long as the process, and a request makes about a hundred objects that live until it is answered: neither is
# to be looked through again and again. Set here, before all that is loaded: a start takes a tenth less.
gc.set_threshold(20_000, 50, 50)
