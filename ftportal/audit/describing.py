"""Writing down a name, a note and tags, with the row of the audit log that belongs to it."""

from django.db import IntegrityError, transaction

from ftportal.audit.services import difference, record
from ftportal.pages.describing import Described, NameTakenError


def describe(thing: Described, action: str, **values: str) -> None:
    """Write fields of a thing and one audit row; nothing where nothing differs.

    Raises NameTakenError.
    """
    before = {field: getattr(thing, field) for field in values}
    old, new = difference(before, values)
    if not new:
        return
    for field, value in new.items():
        setattr(thing, field, value)
    try:
        with transaction.atomic():
            thing.save(update_fields=list(new))
            record(action, thing, before=old, after=new)
    except IntegrityError:
        for field, value in old.items():
            setattr(thing, field, value)
        raise NameTakenError from None
