"""The `portal.approvalNotices` section: who is told, and how, that a call waits for people."""

from __future__ import annotations

from pydantic import Field

from portal.config.webhooks import WebhookSection


class ApprovalNoticesSection(WebhookSection):
    """`mail`: members of the groups that decide get a mail, by the mail server of `portal.identity.smtp`. `to_person`:
    so does the person whose call it is, where they have to confirm it in the browser or to say what it is for. Of more
    mails to one address than `mails_an_hour`, what they would have said waits for the next hour. `webhook` is told of
    every approval.
    """

    mail: bool = False
    to_person: bool = False
    mails_an_hour: int = Field(default=12, ge=1, le=1000)

    @property
    def mails(self) -> bool:
        """Whether anybody gets a mail."""
        return self.mail or self.to_person
