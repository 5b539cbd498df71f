"""One-time codes from an authenticator app, as a second factor of the built-in login (RFC 6238; OWASP MFA cheat sheet).

Six digits, thirty seconds, SHA-1, as every such app has them. A code counts once; those of the step before and after
count too, for clocks that are off. The secret is encrypted at rest like the signing keys.
"""

import hmac

import pyotp

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Unit
from smart_auth.keys import Seal

KIND = "totp"
USED = "totp-used"
STEP_IN_SECONDS = 30
_REMEMBERED: Micros = 10 * STEP_IN_SECONDS * 1_000_000


async def set_up(unit: Unit, seal: Seal, name: str, clinic: str) -> str:
    """A new secret for a person, replacing an older one; the `otpauth:` URI that their app reads, shown this once."""
    secret = pyotp.random_base32()
    await unit.keep(KIND, name, seal.close(secret.encode()))
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=clinic)


async def remove(unit: Unit, name: str) -> bool:
    """Ask the person for no code any more. False when none was asked for."""
    return await unit.take(KIND, name) is not None


async def accepts(unit: Unit, seal: Seal, name: str, code: str, now: Micros) -> bool:
    """Whether the code is good now, and was not used; always, when the person has no secret. A good one is used up."""
    stored = await unit.peek(KIND, name)
    if stored is None:
        return True
    given = "".join(code.split())
    totp, step = pyotp.TOTP(seal.open(stored).decode()), now // (STEP_IN_SECONDS * 1_000_000)
    last = int(await unit.peek(USED, name) or b"0")
    codes = {each: totp.generate_otp(each) for each in (step - 1, step, step + 1)}
    good = [each for each, one in codes.items() if hmac.compare_digest(one.encode(), given.encode())]
    if not good or good[0] <= last:
        return False
    # guard: two sign-ins with one code; both read `totp-used`, and the store lets one of the two Units commit.
    await unit.keep(USED, name, str(good[0]).encode(), now + _REMEMBERED)
    return True
