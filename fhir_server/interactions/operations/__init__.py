"""One module per operation; each sees only a Repository."""
