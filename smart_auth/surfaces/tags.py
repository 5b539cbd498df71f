"""Systems of the tags that the server puts into `meta.tag` and that no client may write."""

# The client that submitted a proposal; the code is its client id.
SUBMITTER = "https://fhir-server.dev/tags/submitter"
