"""The access policy of the surfaces, as data: who may do what, on which rows (requirements §7)."""

from smart_auth.surfaces.access import ANONYMOUS_SURFACE, Policies
from smart_auth.surfaces.policy import POLICY, Rule
from smart_auth.surfaces.tags import SUBMITTER

__all__ = ["ANONYMOUS_SURFACE", "POLICY", "SUBMITTER", "Policies", "Rule"]
