"""Who decides: the person whom a caller of the API stands for, or nobody.

A person has signed in to the console, is named by the operator of the machine, or has a token that was made for them.
An API token of the account stands for nobody, whatever it may do: programs have it, and agents get at what programs
have.
"""

from __future__ import annotations

from portal.admin.api.errors import forbidden
from portal.admin.api.operations import ApiRequest
from portal.admin.api.permissions import APPROVALS, permissions_of_role
from portal.admin.roles import AdministratorRoles
from portal.approvals import Decider
from portal.identity import Identity
from portal.login import People

NOBODY = (
    "a person decides this: sign in to the console, or use a token that stands for you, as "
    "`codemode api-token NAME --for ADDRESS` makes it. This token stands for nobody. Nothing was decided"
)
GONE = "the person whom this token stands for has no access any more. Nothing was decided"


class Deciding:
    def __init__(self, people: People, roles: AdministratorRoles) -> None:
        self._people = people
        self._roles = roles

    async def decider(self, request: ApiRequest) -> Decider:
        """Who decides by this request.

        Raises:
            AdminError: 403, nobody in particular: a token of the account, or of somebody who has left.
        """
        caller = request.caller
        if not caller.person:
            raise forbidden(NOBODY)
        identity = await self._people.known(caller.person)
        if identity is None:
            raise forbidden(GONE)
        try:
            return Decider.of(identity, caller.via, administers=await self._administers(request, identity))
        except ValueError:
            raise forbidden(NOBODY) from None

    async def seeing(self, request: ApiRequest) -> Decider | None:
        """Whose approvals this request may show: what that person may see; None for all, as the permission of a token
        of the account says.

        Raises:
            AdminError: 403, it stands for somebody who has left.
        """
        return await self.decider(request) if request.caller.person else None

    async def _administers(self, request: ApiRequest, identity: Identity) -> bool:
        """Whether the role of the person is about approvals: to stop any, and to see all."""
        if request.caller.via == "browser":
            # The permissions of the session are those of its role now, with the groups of its sign-in.
            return APPROVALS.allows(request.caller.permissions, writing=True)
        role = await self._roles.of(identity)
        return role is not None and APPROVALS.allows(permissions_of_role(role), writing=True)
