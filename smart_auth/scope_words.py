"""Scopes in words for the person who is asked to grant them."""

from smart_auth.scopes import URI_FORM, AnyScope, Scope

_PLAIN = {
    "openid": "Know that it is you",
    "fhirUser": "Know who you are",
    "profile": "Know your name",
    "launch": "Know which patient is open",
    "launch/patient": "Know which patient it works with",
    "launch/encounter": "Know which visit it works with",
    "offline_access": "Keep its access when you are not there, until you or the clinic end it",
    "online_access": "Keep its access while you are signed in",
}
_LETTERS = {"c": "add", "r": "read", "u": "change", "d": "delete", "s": "search"}


def words(scope: AnyScope) -> str:
    """What granting the scope means."""
    if not isinstance(scope, Scope):
        bare = scope.text.removeprefix(URI_FORM)
        return _PLAIN.get(bare, f"Know the context '{bare.removeprefix('launch/')}'")
    verbs = [_LETTERS[letter] for letter in "rscud" if letter in scope.letters]
    listed = ", ".join(verbs[:-1]) + (" and " if len(verbs) > 1 else "") + verbs[-1]
    what = "all kinds of records" if scope.type == "*" else f"{scope.type} records"
    whose = "of this patient" if scope.level == "patient" else "that you may see yourself"
    only = f", only where {' and '.join(f'{name} is {value}' for name, value in scope.query)}" if scope.query else ""
    return f"{listed[0].upper()}{listed[1:]} {what} {whose}{only}"
