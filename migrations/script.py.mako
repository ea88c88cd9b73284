"""${message}.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: ${up_revision}, after ${down_revision or 'nothing'}.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Apply the change."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take the change back."""
    ${downgrades if downgrades else "pass"}
