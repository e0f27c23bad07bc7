"""What beat has done once a day."""

import logging

from celery import shared_task

from ftportal.accounts.services import sessions_forget

logger = logging.getLogger(__name__)


@shared_task(name="accounts.sessions_forget")  # type: ignore[untyped-decorator]
def sessions_forget_daily() -> None:
    """Delete sessions that have ended."""
    logger.info("%d sessions had ended and were deleted", sessions_forget())
