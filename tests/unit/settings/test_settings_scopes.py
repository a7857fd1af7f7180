"""Several scopes: which table is about which, and which one the name of a run means."""

import pytest

from poller.settings.load import settings_from
from poller.settings.scopes import Address, NoScopeError, account_of, find_scope, watches_by_scope, watches_of
from poller.settings.texts import run_name

from .conftest import Load, warned

ONE, TWO = "123456789012", "210987654321"
LAB = Address("lab", "us-east-1", ONE)
CLINIC = Address("clinic", "us-east-1", TWO)
ABROAD = Address("eu-west-1", "eu-west-1")


def arn(region: str = "us-east-1", account: str = ONE) -> str:
    return f"arn:aws:omics:{region}:{account}:run/7"


@pytest.mark.parametrize(
    ("text", "scopes", "found"),
    [
        ("7", [LAB], 0),
        ("clinic:7", [LAB, CLINIC, ABROAD], 1),
        ("eu-west-1:7", [LAB, CLINIC, ABROAD], 2),
        (arn(), [CLINIC, LAB], 1),
        (arn(), [Address("new", "us-east-1"), LAB], 1),
        (arn(), [CLINIC, Address("new", "us-east-1")], 1),
        (arn(), [Address("anywhere"), CLINIC], 0),
        (arn("eu-west-1"), [LAB, CLINIC, ABROAD], 2),
        (arn(), [LAB, Address("again", "us-east-1", ONE)], 0),
        (f"{TWO}/us-east-1:7", [LAB, CLINIC], 1),
        (f"{ONE}/us-east-1:7", [LAB, Address(f"{ONE}/us-east-1", "eu-west-1")], 1),
    ],
)
def test_a_name_leads_to_its_scope(text: str, scopes: list[Address], found: int) -> None:
    assert find_scope(run_name(text), scopes) == found


@pytest.mark.parametrize(
    ("text", "scopes", "said"),
    [
        ("7", [LAB, ABROAD], "run 7 could be in any of 2 scopes: name it lab:7 or eu-west-1:7"),
        ("office:7", [LAB, ABROAD], f"there is no scope office; there is lab (us-east-1, {ONE}) and eu-west-1"),
        (arn("ap-south-1"), [LAB, ABROAD], "run 7 is in ap-south-1, where no scope is; there is lab"),
        (arn(account="0" * 12), [LAB, CLINIC], f"run 7 is of account {'0' * 12}, which no scope is; there is lab"),
        (arn(account=TWO), [LAB], f"run 7 is of account {TWO}, which no scope is; there is lab"),
        (
            arn(),
            [Address("a", "us-east-1"), Address("b", "us-east-1"), CLINIC],
            f"which scope is of account {ONE} is not known yet: name the run a:7 or b:7",
        ),
    ],
)
def test_a_name_that_leads_nowhere_says_which_scopes_there_are(text: str, scopes: list[Address], said: str) -> None:
    with pytest.raises(NoScopeError) as caught:
        find_scope(run_name(text), scopes)
    assert str(caught.value).startswith(said)


def test_a_watch_belongs_to_the_table_that_it_names_whatever_their_order(load: Load) -> None:
    settings = load(
        '[[aws]]\nname = "a"\n[[aws]]\nregion = "eu-west-1"\n[[aws]]\nname = "c"\n'
        '[[watch]]\naws = "eu-west-1"\nrun_ids = ["1"]\n[[watch]]\naws = "a"\ndiscover = true\n'
        '[[watch]]\naws = "a"\ndiscover = true\nname_prefix = "lab"\n'
    ).settings
    assert [watches_of(settings, place) for place in range(3)] == [[1, 2], [0], []]
    (discovered, again), (named,), nothing = watches_by_scope(settings)
    assert (discovered.discover, again.name_prefix, named.run_ids, nothing) == (True, "lab", ("1",), ())


def test_a_run_is_found_on_the_line_of_its_own_scope(load: Load) -> None:
    loaded = load(
        '[[aws]]\nname = "a"\n[[aws]]\nname = "b"\n'
        '[[watch]]\naws = "b"\nrun_ids = ["7"]\n[[watch]]\naws = "a"\nrun_ids = ["8", "a:7"]\n'
    )
    assert [loaded.line_of_run("7", 0), loaded.line_of_run("7", 1)] == [10, 7]
    assert [loaded.line_of_run("8", 0), loaded.line_of_run("8", 1)] == [10, None]


def test_where_there_is_one_scope_every_watch_is_about_it_and_a_run_is_found_in_the_first_that_names_it(
    load: Load,
) -> None:
    loaded = load(
        '[[watch]]\nrun_ids = ["7"]\n[[watch]]\ndiscover = true\n'
        '[[watch]]\nrun_ids = [\n"8",\n"7",\n"eu-west-1:9"]\n[aws]\nregion = "eu-west-1"\n'
    )
    assert watches_of(loaded.settings, 0) == [0, 1, 2]
    assert watches_by_scope(loaded.settings) == [loaded.settings.watch]
    assert [loaded.line_of_run(run_id) for run_id in ("7", "8", "9", "10")] == [2, 7, 9, None]


def test_a_watch_among_several_that_follows_nothing_is_warned_of_by_its_place(load: Load) -> None:
    text = '[[watch]]\ndiscover = true\n[[watch]]\n[[sinks]]\nname = "t"\ntype = "topic"\ntopic_arn = "arn:aws:sns:"\n'
    assert warned(load(text).settings) == [
        "[[watch]] number 2 follows nothing: it names no run_ids and no batch_ids, and discover is off"
    ]


def test_several_tables_need_no_watch_and_a_silent_scope_is_warned_of(load: Load) -> None:
    text = '[[aws]]\nname = "a"\n[[aws]]\nname = "b"\n'
    assert warned(load(text).settings)[0].startswith("nothing to watch in a and b: ")
    assert warned(load(text + '[watch]\naws = "b"\ndiscover = true\n').settings)[0].startswith(
        "nothing to watch in a: "
    )


def test_a_role_tells_the_account() -> None:
    role = "arn:aws-us-gov:iam::210987654321:role/team/watcher"
    (aws,) = settings_from({"aws": {"role_arn": role, "external_id": "lab/1=x"}}).aws
    assert (account_of(aws), aws.external_id) == (TWO, "lab/1=x")
    assert account_of(settings_from({}).aws[0]) is None
