"""All routes of the authorization server, joined."""

from fastapi import APIRouter

from smart_auth import (
    authorize,
    discovery,
    introspect,
    launches,
    login,
    pages,
    passkey_page,
    provider_login,
    register,
    revoke,
    token,
)
from smart_auth.services import Services
from smart_auth.tokens import Verifier

PREFIX = "/{tenant}/auth"


def routes(services: Services, verifier: Verifier) -> APIRouter:
    """The routes, to be mounted at the root."""
    router = APIRouter()
    router.include_router(discovery.routes(services))
    for each in (
        token.routes(services),
        authorize.routes(services),
        login.routes(services),
        passkey_page.routes(services),
        provider_login.routes(services),
        launches.routes(services, verifier),
        introspect.routes(services, verifier),
        revoke.routes(services, verifier),
        register.routes(services),
        pages.routes(),
    ):
        router.include_router(each, prefix=PREFIX)
    return router
