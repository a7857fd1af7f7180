"""Version 2: which runs are owed a diagnosis."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "2", None
READABLE_FROM = 2
"""An older program would forget a run and leave it owed, and could not drop an event that is."""


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "diagnoses",
        sa.Column(
            "position", number, sa.ForeignKey("events.position"), primary_key=True, autoincrement=False, nullable=False
        ),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
    )
    op.create_index("diagnoses_of_run", "diagnoses", ["scope", "run_id"])
