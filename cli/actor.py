"""The actor of command-line actions in the audit trail."""

import os
import pwd
from typing import Final

PREFIX: Final = "os:"
"""Account names contain no colon, so nobody is mistaken for an account."""


def operating_user() -> str:
    """Return the operating system user of this process; in a container it may have no name."""
    number = os.getuid()
    try:
        # Not getpass.getuser, which trusts the environment.
        return PREFIX + pwd.getpwuid(number).pw_name
    except KeyError:
        return f"{PREFIX}{number}"
