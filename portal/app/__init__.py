"""The one place where everything is put together: an instance and its portals.

Names are imported when they are used: a command that only calls servers loads neither the endpoint nor the edge.
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.app.access import StoredState, access_of_portal, read_stored
    from portal.app.admin import command_delivery
    from portal.app.code import checker_for, limits_of
    from portal.app.flows import flow_settings
    from portal.app.instance import Instance, serving
    from portal.app.itself import OwnAddress, leads_to, without_itself
    from portal.app.reload import changed_keys
    from portal.app.shared import Parts
    from portal.app.store import (
        DatabasePlace,
        config_of_state,
        database_place,
        events_of_command,
        keys_of,
        log_place,
        log_settings,
        open_store,
        process_logs_folder,
        rewrap_kept,
        state_home,
        store_for_calls,
    )
    from portal.app.upstreams import open_upstreams
else:
    __getattr__ = lazily(
        __name__,
        {
            "DatabasePlace": "store",
            "Instance": "instance",
            "OwnAddress": "itself",
            "Parts": "shared",
            "StoredState": "access",
            "access_of_portal": "access",
            "changed_keys": "reload",
            "checker_for": "code",
            "command_delivery": "admin",
            "config_of_state": "store",
            "database_place": "store",
            "events_of_command": "store",
            "keys_of": "store",
            "flow_settings": "flows",
            "log_place": "store",
            "log_settings": "store",
            "leads_to": "itself",
            "limits_of": "code",
            "open_store": "store",
            "open_upstreams": "upstreams",
            "process_logs_folder": "store",
            "read_stored": "access",
            "rewrap_kept": "store",
            "serving": "instance",
            "state_home": "store",
            "store_for_calls": "store",
            "without_itself": "itself",
        },
    )

__all__ = [
    "DatabasePlace",
    "Instance",
    "OwnAddress",
    "Parts",
    "StoredState",
    "access_of_portal",
    "changed_keys",
    "checker_for",
    "command_delivery",
    "config_of_state",
    "database_place",
    "events_of_command",
    "flow_settings",
    "keys_of",
    "leads_to",
    "limits_of",
    "log_place",
    "log_settings",
    "open_store",
    "open_upstreams",
    "process_logs_folder",
    "read_stored",
    "rewrap_kept",
    "serving",
    "state_home",
    "store_for_calls",
    "without_itself",
]
