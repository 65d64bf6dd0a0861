"""The admin API in Cloudflare's shapes, over the state. Its chapter is `README.md`."""

from portal.admin.api.answers import listing_of
from portal.admin.api.application import PREFIX, UPLOADS, AdminSettings
from portal.admin.api.errors import AdminError, broken_message
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation
from portal.admin.api.permissions import ALL, permissions_of_role
from portal.admin.applying import apply_changes, export_objects, read_existing
from portal.admin.build import Admin, create_admin
from portal.admin.declared import Change, DeclaredError, Existing, Plan, plan
from portal.admin.dlp_profiles import ProfileUses
from portal.admin.gateway import rule_of_profiles
from portal.admin.roles import AdministratorRoles
from portal.admin.upstreams import RegistryUpstreams, Upstreams

__all__ = [
    "ALL",
    "PREFIX",
    "UPLOADS",
    "Admin",
    "AdminError",
    "AdminSettings",
    "AdministratorRoles",
    "ApiCaller",
    "ApiRequest",
    "Change",
    "DeclaredError",
    "Existing",
    "Operation",
    "Plan",
    "ProfileUses",
    "RegistryUpstreams",
    "Upstreams",
    "apply_changes",
    "broken_message",
    "create_admin",
    "export_objects",
    "listing_of",
    "permissions_of_role",
    "plan",
    "read_existing",
    "rule_of_profiles",
]
