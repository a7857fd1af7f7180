"""Version 2: who is owed a diagnosis, cohorts, and what operators do to deliveries."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "2", None
READABLE_FROM = 2
"""An older program would forget a run and leave it owed a diagnosis, and would send to a sink that is paused."""

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "diagnoses",
        sa.Column(
            "position", NUMBER, sa.ForeignKey("events.position"), primary_key=True, autoincrement=False, nullable=False
        ),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
    )
    op.create_index("diagnoses_of_run", "diagnoses", ["scope", "run_id"])
    for name in ("paused_until", "failing_since"):
        op.add_column("sinks", sa.Column(name, sa.BigInteger))
    op.add_column("deliveries", sa.Column("owed_since", sa.BigInteger))
    op.add_column("deliveries", sa.Column("replay_id", sa.String))
    op.create_table(
        "attempts",
        sa.Column("delivery_id", NUMBER, sa.ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_table(
        "cohorts",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("batch_source", sa.String),
        sa.Column("batch_uuid", sa.String),
    )
    op.create_table(
        "cohort_members",
        sa.Column("cohort", sa.String, sa.ForeignKey("cohorts.key"), primary_key=True),
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("incarnation", sa.String, primary_key=True),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("named", sa.String),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("uuid", sa.String),
        sa.Column("name", sa.String),
        sa.Column("failure_reason", sa.String),
    )
    op.create_index("cohort_members_by_source", "cohort_members", ["source"])
