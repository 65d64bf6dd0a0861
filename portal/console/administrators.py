"""The pages of administrators: who they are and what they may do, invitations, links for new passwords, and removal.

What takes something from the administrator who asks for it asks for their name first: nobody locks themselves out by
accident. That an owner stays is held by the API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.routing import Route

from portal.admin import ACCOUNT, NewMember, ResetMember, ShownMember, ShownRole
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "administrators", "/admin/administrators"
API, ROLES_API = "/members", "/roles"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Administrators", LIST),)
AREAS: Mapping[str, str] = {
    "mcp_portals": "servers, portals, runs and their analytics",
    "mcp_approvals": "approvals of calls",
    "access_apps_and_policies": "policies and applications",
    "access_organizations_identity_providers_and_groups": "people, login methods and access groups",
    "access_service_tokens": "service tokens",
    "access_custom_pages": "custom pages",
    "access_device_posture": "device posture",
    "zero_trust": "gateway rules, lists and DLP profiles",
    "logs": "the log, and jobs that export it",
    "account_api_tokens": "API tokens",
    "account_settings": "administrators and their roles",
}
"""What the areas of the permissions are about, by the name that a role has them under."""


class AdministratorPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form, item = self._frame.page, self._frame.form, "/administrators/{id}"
        return [
            page("/administrators", HERE, self._list),
            page("/administrators/new", HERE, self._new, changes=ACCOUNT),
            form("/administrators/new", HERE, self._invite, self._new),
            page(item, HERE, self._show),
            form(f"{item}/link", HERE, self._renew, self._show),
            form(f"{item}/role", HERE, self._set_role, self._show, {"roles": "role"}),
            *self._frame.confirmation(f"{item}/lower/{{role}}", HERE, self._lower, ACCOUNT),
            *self._frame.confirmation(f"{item}/reset", HERE, self._reset, ACCOUNT),
            *self._frame.confirmation(f"{item}/remove", HERE, self._remove, ACCOUNT),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownMember, API, visit.page_query())
        roles = await _roles(visit)
        values = {
            "found": found,
            "search": visit.query("search"),
            "own_id": own_id(visit),
            "roles": [(one, role_words(one)) for one in roles],
            "own": next(one for one in roles if one.key == visit.role.name),
        }
        keys = [one.created_by for one in found.items]
        return Shown("administrators.html", "Administrators", values, keys=keys)

    async def _new(self, visit: Visit) -> Answer:
        roles = await _roles(visit)
        values = {"roles": [(one, role_words(one)) for one in roles], "choices": _choices(roles)}
        return Shown("administrator_new.html", "Invite an administrator", values, ABOVE)

    async def _invite(self, visit: Visit) -> Answer:
        body = {"email": visit.sent("email"), "roles": [visit.sent("role")]}
        made = await visit.api.made(NewMember, "POST", API, body)
        return _link_of(made)

    async def _show(self, visit: Visit) -> Answer:
        member = await visit.api.show(ShownMember, ITEM, id=visit.id())
        roles = await _roles(visit)
        values = {
            "member": member,
            "is_self": is_self(visit, member),
            "role": member.roles[0].key if member.roles else "",
            "choices": _choices(roles),
            "roles": [(one, role_words(one)) for one in roles],
        }
        return Shown("administrator.html", member.email, values, ABOVE, keys=(member.created_by,))

    async def _renew(self, visit: Visit) -> Answer:
        return _link_of(await visit.api.made(NewMember, "POST", f"{ITEM}/invitation", {}, id=visit.id()))

    # Roles

    async def _set_role(self, visit: Visit) -> Answer:
        member = await visit.api.show(ShownMember, ITEM, id=visit.id())
        role, here = visit.sent("role"), f"{LIST}/{member.id}"
        if visit.may(ACCOUNT) and is_self(visit, member) and any(one.key != role for one in member.roles):
            # Only known words go into a path.
            if role in [one.key for one in await _roles(visit)]:
                return Went(f"{here}/lower/{role}")
        await visit.api.change("PUT", ITEM, {"roles": [role]}, id=member.id)
        return Went(here, "changed-role")

    async def _lower(self, visit: Visit) -> Confirmation:
        role = await visit.api.show(ShownRole, f"{ROLES_API}/{{id}}", id=visit.id("role"))
        member = await visit.api.show(ShownMember, ITEM, id=visit.id())
        consequences = (
            "This is your own account. What you may do changes with your next click.",
            f"As {role.name.lower()}: {role.description}",
            "Only an owner can give you the role back.",
        )

        async def act() -> Answer:
            await visit.api.change("PUT", ITEM, {"roles": [role.key]}, id=member.id)
            return Went(f"{LIST}/{member.id}", "changed-role")

        return Confirmation(
            f"Become {role.name.lower()} yourself?",
            name=member.email,
            back=f"{LIST}/{member.id}",
            deed="Change it",
            consequences=consequences,
            act=act,
        )

    # Passwords and removal

    async def _reset(self, visit: Visit) -> Confirmation:
        member = await visit.api.show(ShownMember, ITEM, id=visit.id())
        consequences = (
            "Their password, every browser in which they are signed in and every agent that they let in end at once.",
            "You get a link with which they choose a new password. It is shown once, and good for an hour.",
            *(["This is your own account: you are signed out."] if is_self(visit, member) else []),
        )

        async def act() -> Answer:
            return _link_of(await visit.api.made(ResetMember, "POST", f"{ITEM}/reset", {}, id=member.id))

        return Confirmation(
            f"Reset the password of {member.email}?",
            name=member.email,
            back=f"{LIST}/{member.id}",
            deed="Reset it",
            consequences=consequences,
            act=act,
        )

    async def _remove(self, visit: Visit) -> Confirmation:
        member = await visit.api.show(ShownMember, ITEM, id=visit.id())
        if member.status == "pending":
            title, deed = f"Revoke the invitation of {member.email}?", "Revoke it"
            consequences: Sequence[str] = ("Its link is good no longer. You can invite them again.",)
        else:
            title, deed = f"Remove {member.email}?", "Remove"
            consequences = (
                "They are signed out everywhere. Their agents and the programs that they have running end.",
                "Invitations that they made and whose links they know are revoked.",
                "API tokens that they made stay valid. Delete those whose values they know.",
                *(["This is your own account: you have no way back in."] if is_self(visit, member) else []),
            )
        return Confirmation(
            title,
            name=member.email,
            back=f"{LIST}/{member.id}",
            deed=deed,
            consequences=consequences,
            act=deletion(visit, ITEM, LIST, id=member.id),
        )


def own_id(visit: Visit) -> str:
    """The id of the viewer's own account, "" for who has a role by a rule."""
    scheme, _, id = visit.identity.key.partition(":")
    return id if scheme == "local" else ""


def is_self(visit: Visit, member: ShownMember) -> bool:
    return member.id == own_id(visit)


def role_words(role: ShownRole) -> Sequence[tuple[str, Sequence[str]]]:
    """What a role may do: how, and what in words, without what there is nothing of."""
    held = [(AREAS.get(name, name), grant) for name, grant in role.permissions.items()]
    changed = [words for words, grant in held if grant.write]
    read = [words for words, grant in held if grant.read and not grant.write]
    refused = [words for words, grant in held if not grant.read]
    found = (("Reads and changes", changed), ("Only reads", read), ("Sees nothing of", refused))
    return [(how, what) for how, what in found if what]


async def _roles(visit: Visit) -> Sequence[ShownRole]:
    return (await visit.api.list(ShownRole, ROLES_API)).items


def _choices(roles: Sequence[ShownRole]) -> Sequence[tuple[str, str]]:
    return [(one.key, one.name) for one in roles]


def _link_of(made: NewMember | ResetMember) -> Shown:
    """The page with a link, which is shown only here."""
    link = made.invitation if isinstance(made, NewMember) else made.reset
    title = f"{made.email} is invited" if isinstance(made, NewMember) else f"The password of {made.email} is reset"
    return Shown("administrator_link.html", title, {"member": made, "link": link}, ABOVE)
