"""Who acts at the command line, as the audit trail names them."""

import os
import pwd
from typing import Final

PREFIX: Final = "os:"
"""No account's name holds a colon, so nobody is taken for an account."""


def operating_user() -> str:
    """Return the operating system's user behind this process; a container may run one without a name."""
    number = os.getuid()
    try:
        # Not getpass.getuser, which believes the environment.
        return PREFIX + pwd.getpwuid(number).pw_name
    except KeyError:
        return f"{PREFIX}{number}"
