"""Booking: states, rules, conflicts and provisional identity."""
