"""The words of `user`, `provider` and `client`: who may sign in, and with what. Nothing heavy is imported here."""

from typing import Any

from fhir_server.cli.words import command, new_group

_SURFACES = ("website", "patient-portal", "provider-portal", "auditor", "administrator", "service")
_KINDS = ("public", "confidential-symmetric", "confidential-asymmetric")
_GRANTS = ("client_credentials", "authorization_code", "refresh_token")
_ROLES = ("patient", "proxy", "practitioner", "front-desk", "auditor", "administrator")


def add(commands: Any) -> None:
    """Add them to the parser of all commands."""
    _user(commands)
    _provider(commands)
    _client(commands)


def _user(commands: Any) -> None:
    group = new_group(commands, "user", "People of a clinic who may sign in.")
    add = command(
        group,
        "add",
        "users:add",
        "Add a person. The password is read from stdin with --password-stdin; else one is made and printed once.",
        "user add northside dr-may --role practitioner --fhir-user Practitioner/may",
    )
    add.add_argument("tenant", metavar="TENANT")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", required=True, choices=_ROLES)
    add.add_argument("--fhir-user", required=True, metavar="TYPE/ID", help="the resource that stands for the person")
    add.add_argument("--display", default="", help="how the person is called")
    add.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    list_ = command(group, "list", "users:list_", "List the people.", "user list northside")
    list_.add_argument("tenant", metavar="TENANT")
    disable = command(
        group, "disable", "users:disable", "Let a person sign in no more.", "user disable northside dr-may"
    )
    disable.add_argument("tenant", metavar="TENANT")
    disable.add_argument("name", metavar="NAME")
    codes = command(
        group,
        "totp",
        "users:one_time_codes",
        "Have a person give a code from an authenticator app at sign-in.",
        "user totp northside dr-may",
    )
    codes.add_argument("tenant", metavar="TENANT")
    codes.add_argument("name", metavar="NAME")
    codes.add_argument("--off", action="store_true", help="ask for no code any more")
    keys = command(
        group,
        "passkeys",
        "users:passkeys_",
        "List a person's passkeys, or remove them. People add theirs themselves, on the page /TENANT/auth/passkeys.",
        "user passkeys northside dr-may",
    )
    keys.add_argument("tenant", metavar="TENANT")
    keys.add_argument("name", metavar="NAME")
    does = keys.add_mutually_exclusive_group()
    does.add_argument("--remove", metavar="PASSKEY", help="remove this one, for instance of a lost phone")
    does.add_argument("--remove-all", action="store_true", help="remove all; the password signs in again")
    does.add_argument("--only", action="store_true", help="let no password sign the person in any more")
    does.add_argument("--also-password", action="store_true", help="let the password sign the person in again")


def _provider(commands: Any) -> None:
    group = new_group(commands, "provider", "A clinic's OpenID provider, with which its people sign in instead.")
    set_ = command(
        group,
        "set",
        "providers:set_",
        "Have a clinic's people sign in with an OpenID provider, by a configuration that its JSON Schema takes.",
        "provider set northside provider.json --secret-stdin",
    )
    set_.add_argument("tenant", metavar="TENANT")
    set_.add_argument("file", metavar="FILE")
    set_.add_argument("--secret-stdin", action="store_true", help="read the client's secret from stdin")
    for name, text in (
        ("show", "Show the configuration, without the secret."),
        ("check", "Fetch the provider's documents, as a sign-in would."),
        ("remove", "Let people sign in with accounts of this server again."),
    ):
        parser = command(group, name, f"providers:{name}", text, f"provider {name} northside")
        parser.add_argument("tenant", metavar="TENANT")
    unlink = command(
        group, "unlink", "providers:unlink", "Let an account be linked anew, to whoever has its name at the provider.",
        "provider unlink northside dr-may",
    )  # fmt: skip
    unlink.add_argument("tenant", metavar="TENANT")
    unlink.add_argument("name", metavar="NAME")


def _client(commands: Any) -> None:
    group = new_group(commands, "client", "Apps of a clinic.")
    add = command(
        group,
        "add",
        "clients:add",
        "Register an app. A generated secret is printed once.",
        "client add northside backend --surface service --jwks keys.json --scope 'system/Appointment.cruds'",
    )
    add.add_argument("tenant", metavar="TENANT")
    add.add_argument("client", metavar="ID")
    add.add_argument("--surface", required=True, choices=_SURFACES, help="what the app is for")
    add.add_argument("--kind", choices=_KINDS, help="(default: asymmetric with --jwks, else public for portals)")
    add.add_argument("--scope", required=True, action="append", metavar="SCOPES", help="may be given again")
    add.add_argument("--grant", action="append", choices=_GRANTS, help="(default: by surface and kind)")
    add.add_argument("--redirect-uri", action="append", default=[], metavar="URL", help="may be given again")
    add.add_argument("--jwks", metavar="FILE|URL", help="its public keys, for private_key_jwt")
    add.add_argument("--name", default="", help="how the app is called")
    list_ = command(group, "list", "clients:list_", "List the apps.", "client list northside")
    list_.add_argument("tenant", metavar="TENANT")
    rotate = command(
        group, "rotate", "clients:rotate", "Replace an app's secret; the new one is printed once.",
        "client rotate northside website",
    )  # fmt: skip
    disable = command(
        group, "disable", "clients:disable", "Let an app get no more tokens.", "client disable northside website"
    )
    for parser in (rotate, disable):
        parser.add_argument("tenant", metavar="TENANT")
        parser.add_argument("client", metavar="ID")
