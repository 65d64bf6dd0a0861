"""What the clients of a portal see at this moment: the aggregate of the current snapshot, built once a content."""

from portal.endpoint.aggregate import Aggregate
from portal.servers import Servers, Snapshot


class View:
    """The current snapshot of the servers and its aggregate."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._content_id = ""
        self._aggregate = Aggregate.build(())

    @property
    def snapshot(self) -> Snapshot:
        return self._servers.snapshot

    @property
    def aggregate(self) -> Aggregate:
        return self.aggregate_of(self._servers.snapshot)

    def aggregate_of(self, snapshot: Snapshot) -> Aggregate:
        """The aggregate of a snapshot; the newest one asked for is kept."""
        if snapshot.content_id != self._content_id:
            self._aggregate = Aggregate.build(snapshot.servers.values())
            self._content_id = snapshot.content_id
        return self._aggregate
