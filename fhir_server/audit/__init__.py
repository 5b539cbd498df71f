"""Audit: events, the hash chain, and their rendering as AuditEvents."""
