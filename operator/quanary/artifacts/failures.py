"""What went wrong on the way: is it for a person to mend, or may it pass?"""

from typing import Final

# Of HTTP, what a person must mend; anything else a registry, store or web server says may pass.
LASTING_STATUSES: Final = frozenset({400, 401, 403, 404, 405, 410, 414, 451})


class UnreachableError(Exception):
    """The network or the store failed; the same request may work later."""
