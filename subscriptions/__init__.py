"""Subscriptions: topics, criteria, the outbox worker and its channels."""
