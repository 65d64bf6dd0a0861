"""The settings of the HTTP edge, each a bound with a default that is safe on a developer's machine."""

from dataclasses import dataclass

from portal.http.names import NameRules


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Bounds on what reaches the portal over HTTP. Sizes in bytes, times in seconds.

    `allowed_hosts` and `allowed_origins` are added to the loopback names, which are always allowed. A host is
    `mcp.example.com` (any port) or `mcp.example.com:8443` (that port only); an origin is `https://mcp.example.com`
    with the port where it is not the scheme's own. `*` as the only host or origin switches that check off: for a
    portal behind a proxy that has made the check already.

    `forms` are the paths that take HTML forms and OAuth requests instead of JSON: whole, or a prefix that ends in `/`.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    form_limit: int = 64 * 1024
    body_limit: int = 4 * 1024 * 1024
    body_time: float = 30.0
    header_limit: int = 64 * 1024
    header_time: float = 15.0
    keep_alive: float = 15.0
    depth: int = 100
    sessions: int = 10_000
    session_idle: float = 30 * 60.0


class Edge:
    """The settings in force, and the rules for names compiled from them. Another set may take their place while the
    portal serves: each request is judged by those in force when it comes in."""

    def __init__(self, settings: HttpSettings | None = None) -> None:
        """Raises ValueError as `replace`."""
        self.settings = HttpSettings()
        self.names = NameRules.compile((), ())
        self.replace(settings or HttpSettings())

    def replace(self, settings: HttpSettings) -> None:
        """Judge by these settings from now on.

        Raises:
            ValueError: an allowed host or origin is not one. The former settings stay.
        """
        self.names = NameRules.compile(settings.allowed_hosts, settings.allowed_origins)
        self.settings = settings

    def takes_forms(self, path: str) -> bool:
        """Whether HTML forms and OAuth requests are sent to this path, of the instance or of one of its portals."""
        _, _, rest = path.removeprefix("/").partition("/")
        return self._is_form(path) or self._is_form(f"/{rest}")

    def _is_form(self, path: str) -> bool:
        return any(path == form or (form.endswith("/") and path.startswith(form)) for form in self.settings.forms)
