"""Changes of the champion, and the reading again of files. Everything public stands here."""

from ftportal.promotions.services.champions import (
    PromotionRefusedError,
    champion_compare,
    promote,
    rollback,
)
from ftportal.promotions.services.rereads import (
    reread_finish,
    reread_request,
    rereads_nightly,
)

__all__ = [
    "PromotionRefusedError",
    "champion_compare",
    "promote",
    "reread_finish",
    "reread_request",
    "rereads_nightly",
    "rollback",
]
