"""Stores: the protocol, and one package for each store that speaks it."""
