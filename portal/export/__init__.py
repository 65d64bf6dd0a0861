"""Sends the rows of the log elsewhere, in Logpush's shape. Its chapter is `README.md`."""

from portal.export.destination import (
    MAX_DESTINATION,
    DestinationInvalid,
    ExportDestination,
    read_destination,
    shown_destination,
)
from portal.export.job import (
    EXPORT_JOB,
    ExportJob,
    ExportJobDocument,
    JobInvalid,
    OnRefused,
    new_job_id,
    require_usable,
)
from portal.export.jobs import MAX_JOBS, ExportJobs, ExportState
from portal.export.output import OutputOptions, Writer, options_of
from portal.export.progress import ExportProgress, RefusedBatch
from portal.export.record import DATASET, FIELDS, THEIR_FIELDS, Audiences, record_of
from portal.export.run import ExportPace
from portal.export.sending import NotTaken
from portal.export.wanted import MAX_FILTER, FilterInvalid, RowFilter, read_filter

__all__ = [
    "DATASET",
    "EXPORT_JOB",
    "FIELDS",
    "MAX_DESTINATION",
    "MAX_FILTER",
    "MAX_JOBS",
    "THEIR_FIELDS",
    "Audiences",
    "DestinationInvalid",
    "ExportDestination",
    "ExportJob",
    "ExportJobDocument",
    "ExportJobs",
    "ExportPace",
    "ExportProgress",
    "ExportState",
    "FilterInvalid",
    "JobInvalid",
    "NotTaken",
    "OnRefused",
    "OutputOptions",
    "RefusedBatch",
    "RowFilter",
    "Writer",
    "new_job_id",
    "options_of",
    "read_destination",
    "read_filter",
    "record_of",
    "require_usable",
    "shown_destination",
]
