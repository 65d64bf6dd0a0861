"""How the portal tells people something who are not looking at it: by mail, and by a signed webhook."""

from portal.notices.mail import Console, Mail, MailFailed, Message, Smtp, normal_email
from portal.notices.webhook import Webhook, WebhookFailed, signature

__all__ = [
    "Console",
    "Mail",
    "MailFailed",
    "Message",
    "Smtp",
    "Webhook",
    "WebhookFailed",
    "normal_email",
    "signature",
]
