"""The codes of every value set that a required binding names, and how code systems are ordered.

Source: FHIR R4 valueset.html#compositions, codesystem.html#hierarchy.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Resource = Mapping[str, Any]
Codes = dict[str, set[str]]


class Unenumerable(Exception):
    """The value set's codes are not in the package: a grammar (UCUM, media types) or an absent code system."""


class CodeTable:
    """Expands value sets from the ValueSets and CodeSystems of one package, both by canonical URL."""

    def __init__(self, value_sets: Mapping[str, Resource], code_systems: Mapping[str, Resource]) -> None:
        self._value_sets = value_sets
        self._code_systems = code_systems

    def compile(self, urls: Iterable[str]) -> dict[str, dict[str, list[str]] | None]:
        """Value set -> system -> codes, all sorted; None for a value set that cannot be enumerated."""
        made: dict[str, dict[str, list[str]] | None] = {}
        for url in sorted(urls):
            try:
                made[url] = {system: sorted(codes) for system, codes in sorted(self._expand(url).items())}
            except Unenumerable:
                made[url] = None
        return made

    def _expand(self, url: str) -> Codes:
        value_set = self._value_sets.get(url.partition("|")[0])
        if value_set is None or "compose" not in value_set:
            raise Unenumerable(url)
        codes: Codes = {}
        for include in value_set["compose"]["include"]:
            for system, chosen in self._part(include).items():
                codes.setdefault(system, set()).update(chosen)
        for exclude in value_set["compose"].get("exclude", []):
            for system, chosen in self._part(exclude).items():
                codes.get(system, set()).difference_update(chosen)
        return codes

    def _part(self, part: Mapping[str, Any]) -> Codes:
        """The codes of one include or exclude: what its system and all of its value sets have in common."""
        sides = [self._expand(url) for url in part.get("valueSet", [])]
        if "system" in part:
            sides.append({part["system"]: self._of_system(part)})
        codes = sides[0]
        for side in sides[1:]:
            codes = {system: chosen & side[system] for system, chosen in codes.items() if system in side}
        return codes

    def _of_system(self, part: Mapping[str, Any]) -> set[str]:
        if "concept" in part:
            return {concept["code"] for concept in part["concept"]}
        system = self._code_systems.get(part["system"])
        if system is None or system["content"] != "complete":
            raise Unenumerable(part["system"])
        codes = {concept["code"] for concept, _ in _concepts(system.get("concept", []))}
        for rule in part.get("filter", []):
            codes &= _filtered(system, rule)
        return codes


def parents(code_systems: Mapping[str, Resource]) -> dict[str, dict[str, list[str]]]:
    """Code system -> code -> the codes right above it, for the systems whose content is complete."""
    made: dict[str, dict[str, list[str]]] = {}
    for url, system in sorted(code_systems.items()):
        if system["content"] == "complete":
            above: Codes = {}
            for concept, over in _concepts(system.get("concept", [])):
                if over:
                    above.setdefault(concept["code"], set()).add(over[-1])
                for below in (p["valueCode"] for p in concept.get("property", []) if p["code"] == "child"):
                    above.setdefault(below, set()).add(concept["code"])
            made[url] = {code: sorted(over) for code, over in sorted(above.items())}
    return made


def _concepts(concepts: Iterable[Any], above: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Every concept with the codes above it."""
    for concept in concepts:
        yield concept, above
        yield from _concepts(concept.get("concept", []), (*above, concept["code"]))


def _filtered(system: Resource, rule: Mapping[str, str]) -> set[str]:
    """The codes that one filter keeps. No required binding of R4 4.0.1 uses another one."""
    concepts = list(_concepts(system.get("concept", [])))
    match rule["op"]:
        case "is-a":
            return {c["code"] for c, above in concepts if rule["value"] in (*above, c["code"])}
        case "descendent-of":
            return {c["code"] for c, above in concepts if rule["value"] in above}
        case other:
            raise ValueError(f"The filter '{other}' of a value set over {system['url']} is not known here.")
