"""The authorization server and the access policy of the surfaces."""
