"""What the fragment `jobs/_progress.html` asks about a job that any page shows."""

from django import template
from django.template.context import Context

from ftportal.accounts.models import User
from ftportal.jobs.models import Job
from ftportal.jobs.selectors import JobStatus, Queues, may_steer
from ftportal.jobs.selectors import job_status as status_of

register = template.Library()


@register.simple_tag(takes_context=True)
def job_status(context: Context, job: Job) -> JobStatus:
    """Queue position, silent workers, missing workers; the queues are read once a request."""
    request = context.get("request")
    queues = getattr(request, "job_queues", None) or Queues()
    if request is not None:
        request.job_queues = queues
    return status_of(job, queues)


@register.simple_tag(takes_context=True)
def job_may_steer(context: Context, job: Job) -> bool:
    """Whether the person who looks may stop the job and start it again."""
    user = context.get("user")
    return isinstance(user, User) and may_steer(user, job)
