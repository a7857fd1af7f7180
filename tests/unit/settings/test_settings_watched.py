"""What `check` says that each watch follows."""

import pytest

from poller.settings.watched import followed

from .conftest import Load


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ("", "nothing"),
        ("discover = true", "every run"),
        (
            'discover = true\nrun_group_ids = ["7", "8"]\nname_prefix = "lab-"\nworkflow_ids = ["3"]',
            'every run in run group 7 or 8 with a name like "lab-…" of workflow 3',
        ),
        (
            'discover = true\ntags = { project = "x", site = "y" }\nmin_interval = "1s"',
            "every run with the tags project=x, site=y; its tags cost one GetRun for each run that fits otherwise; "
            "asked again after at least 1s",
        ),
        ('run_ids = ["1"]', "1 run by name"),
        (
            'run_ids = ["1", "2"]\nbatch_ids = ["5"]\nmin_interval = "1s"\nmax_interval = "10s"',
            "2 runs by name; the runs of batch 5; asked again after at least 1s and at most 10s",
        ),
    ],
)
def test_a_watch_is_said_in_one_line(load: Load, watch: str, said: str) -> None:
    assert followed(load(f"[watch]\n{watch}\n").settings.watch[0]) == said
