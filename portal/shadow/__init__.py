"""MCP traffic that goes around the portals, seen in the logs of proxies and servers: lines, sightings, a report."""

from portal.shadow.known_hosts import KNOWN_ENDPOINTS, KnownEndpoint
from portal.shadow.places import LOOPBACK_NAMES, EndpointPlace, Hosts, Portals, is_loopback
from portal.shadow.reading import LogFile, UnreadLine
from portal.shadow.report import ScannedFile, ScanReport, SeenCaller, Sighting, report_json
from portal.shadow.request import LogRequest, read_address, read_authority
from portal.shadow.sightings import Sightings, Window
from portal.shadow.signs import Certainty, Sign
from portal.shadow.timeline import TimeSlot
from portal.shadow.times import iso, read_time

__all__ = [
    "KNOWN_ENDPOINTS",
    "LOOPBACK_NAMES",
    "Certainty",
    "EndpointPlace",
    "Hosts",
    "KnownEndpoint",
    "LogFile",
    "LogRequest",
    "Portals",
    "ScanReport",
    "ScannedFile",
    "SeenCaller",
    "Sighting",
    "Sightings",
    "Sign",
    "TimeSlot",
    "UnreadLine",
    "Window",
    "is_loopback",
    "iso",
    "read_address",
    "read_authority",
    "read_time",
    "report_json",
]
