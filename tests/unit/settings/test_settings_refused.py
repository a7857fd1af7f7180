"""What a configuration can get wrong, and what is said about it: the place, the key, what would be right; no secret."""

import re
from pathlib import Path
from typing import Final

import pytest

from poller.core.errors import ConfigError
from poller.settings.load import LARGEST, load_settings, settings_from

from .conftest import Load

ENVIRON: Final = {
    "SECRET": "planted-in-the-environment",
    "BAD": "bad-planted-in-the-environment",
    "WORD": "wordplanted",
    "MILLISECONDS": "47ms",
    "SCOPED": "planted-scope:1",
    "ARN": "arn:aws:omics:eu-planted-1:123456789012:run/7",
}
PLANTED: Final = (*ENVIRON.values(), "eu-planted", "planted-scope", "planted-in-a-file", "planted-in-the-text")
SINK: Final = '[[sinks]]\nname = "lims"\ntype = "post"\nurl = "https://lims.example.org/"\n'
AB: Final = '[[aws]]\nname = "a"\n[[aws]]\nname = "b"\n'
ROLE: Final = "arn:aws:iam::123456789012:role/watcher"
RUN: Final = "arn:aws:omics:us-east-1:123456789012:run/1234567"

REFUSED: Final = [
    # not TOML, not text
    ("a = ", ["config.toml:1: is not valid TOML"]),
    ("\n\n[polling\n", ["config.toml:3: is not valid TOML"]),
    ("[polling]\nmin_interval = 5s\n", ["config.toml:2: is not valid TOML", "column", "stand in quotes"]),
    ("[log]\nlevel = info\n", ["config.toml:2: is not valid TOML", "stand in quotes"]),
    ("[log]\n[http]\n[log]\n", ["config.toml:3: is not valid TOML", "twice"]),
    ("[log]\nlevel = 'info'\nlevel = 'info'\n", ["config.toml:3: is not valid TOML"]),
    ('[log]\nlevel = "info\n', ["config.toml:2: is not valid TOML"]),
    ("[log]\r\nlevel = \r\n", ["config.toml:2: is not valid TOML"]),
    ("a = " + "[" * 5000, ["config.toml", "is not valid TOML"]),
    ("a = " + "9" * 5000, ["config.toml: is not valid TOML"]),
    (b"[log]\nlevel = '\xff'\n", ["config.toml:2: is not UTF-8 text"]),
    ('[log]\nlevel = "info"\n'.encode("utf-16"), ["config.toml:1: is not UTF-8 text"]),
    (b"#" * (LARGEST + 1), ["config.toml: is larger than 1 MiB"]),
    (b"a = \x00", ["config.toml:1: is not valid TOML"]),
    # tables that are none
    ("sinks = 5\n", ["config.toml:1 [sinks]: expected a table: write [[sinks]]"]),
    ('\nwatch = "x"\n', ["config.toml:2 [watch]: expected a table: write [watch]"]),
    ("aws = true\n", ["config.toml:1 [aws]: expected a table: write [aws]"]),
    ("polling = []\n", ["config.toml:1 [[polling]]: is written once: [polling]"]),
    ("[[polling]]\n[[polling]]\n", ["config.toml:1 [[polling]]: is written once: [polling]"]),
    ("http = 8780\n", ["config.toml:1 [http]: expected a table: write [http]"]),
    ('[sinks]\nname = "a"\n', ["config.toml:1 [sinks]: a sink is written [[sinks]], with two brackets"]),
    ('[sinks.lims]\ntype = "post"\n', ["config.toml:1 [sinks]: a sink is written [[sinks]]"]),
    ("sinks = [1]\n", ["config.toml:1 [[sinks]]: expected a table: write [[sinks]]"]),
    ("watch = [\n  {},\n  1]\n", ["config.toml:3 [[watch]] number 2: expected a table: write [[watch]]"]),
    # cohorts
    ("[[cohort]]\n", ["[[cohort]]", "name"]),
    ('[[cohort]]\nname = "a"\n', ['config.toml:2 [[cohort]] "a" name: no run belongs to it: give run_ids']),
    ('[[cohort]]\nname = "a"\nrun_ids = ["1"]\nexpected = 2\n', ["config.toml:4", "counts runs that are not named"]),
    ('[[cohort]]\nname = "a"\nrun_name = "x*"\nquiet = 0\n', ["config.toml:4", "must be longer than 0"]),
    ('[[cohort]]\nname = "a"\nrun_ids = ["1"]\nquiet = 60\n', ["config.toml:4", "nor run_ids alone"]),
    ('[[cohort]]\nname = "a"\nrun_name = "x*"\nexpected = 2\nquiet = 60\n', ["config.toml:5", "not with expected"]),
    ('[[cohort]]\nname = "a"\nrun_nmae = "x*"\n', ["config.toml:3", "did you mean run_name?"]),
    ('[[cohort]]\nname = "a"\nrun_ids = ["x"]\n', ["config.toml:3", "expected a run id"]),
    # deadlines
    ('[watch]\ndeadline = "abc"\n', ["config.toml:2 [watch] deadline: expected a duration", "or a table such as {"]),
    ("[watch]\ndeadline = -1\n", ["config.toml:2 [watch] deadline: a duration must be neither negative"]),
    ('[watch]\ndeadline = { PENDNG = "6h" }\n', ["deadline.PENDNG: no such key; did you mean PENDING?"]),
    ('[watch]\ndeadline = { RUNNING = "x" }\n', ["config.toml:2 [watch] deadline.RUNNING: expected a duration"]),
    ("[diagnosis]\nlog_lines = 201\n", ["config.toml:2 [diagnosis] log_lines: must be at most 200"]),
    ("[diagnosis]\nlog_lines = -1\n", ["config.toml:2 [diagnosis] log_lines: must be at least 0"]),
    ('[diagnosis]\nenabled = "perhaps"\n', ["config.toml:2 [diagnosis] enabled: "]),
    ("[diagnosis]\nlog_line = 5\n", ["[diagnosis] log_line: no such key; did you mean log_lines?"]),
    ('[diagnosis]\nshow_names = [""]\n', ["config.toml:2 [diagnosis] show_names"]),
    (
        '[diagnosis]\nshow_names = ["HG*"]\n',
        ["config.toml:2 [diagnosis] show_names: is about the lines of logs, and none are asked for"],
    ),
    (
        "[diagnosis]\nenabled = false\nlog_lines = 5\n",
        ["config.toml:3 [diagnosis] log_lines: is part of a diagnosis, which is off", "enabled"],
    ),
    ("[watch]\noverdue_factor = -1\n", ["config.toml:2 [watch] overdue_factor: must be at least 0"]),
    ("[watch]\noverdue_factor = 0.5\n", ["[watch] overdue_factor (0.5) would call every other run overdue"]),
    # keys that there are not
    ("[poling]\n", ["config.toml:1 [poling]: no such table; did you mean [polling]?"]),
    ("[sink]\n", ["config.toml:1 [sink]: no such table; did you mean [[sinks]]?"]),
    ("[xyz]\n", ["config.toml:1 [xyz]: no such table; there are [aws], [watch], [polling]"]),
    ("verbose = true\n", ["config.toml:1 verbose: no such table; there are"]),
    ('blind_after = "5s"\n', ["config.toml:1 blind_after: stands before the first table; it belongs in [polling]"]),
    ('min_interval = "5s"\n', ["config.toml:1 min_interval: stands before the first table; it belongs in [watch] or"]),
    (
        'name = "a"\n',
        ["config.toml:1 name: stands before the first table; it belongs in [aws] or [[cohort]] or [[sinks]]"],
    ),
    (
        '[polling]\n# why\nmax_intervall = "5s"\n',
        ["config.toml:3 [polling] max_intervall: no such key; did you mean max_interval?"],
    ),
    (
        "[polling]\nMax-Interval = 5\n",
        ["config.toml:2 [polling] Max-Interval: no such key; did you mean max_interval?"],
    ),
    ('[watch]\nblind_after = "5s"\n', ["config.toml:2 [watch] blind_after: no such key; it belongs in [polling]"]),
    (
        "[polling]\nretentions = 5\n",
        ["config.toml:2 [polling] retentions: no such key; did you mean retention in [store]?"],
    ),
    ("[log]\nxyzzy = 5\n", ["config.toml:2 [log] xyzzy: no such key; there are level, format"]),
    ("[log.level]\n", ["config.toml:1 [log] level: expected 'debug', 'info', 'warning' or 'error'"]),
    (SINK + "level = 'info'\n", ['config.toml:5 [[sinks]] "lims" level: no such key; it belongs in [log]']),
    (
        SINK + "topic_arn = 'x'\n",
        ['config.toml:5 [[sinks]] "lims" topic_arn: no such key; sinks of type topic have it'],
    ),
    (SINK + "urls = 'x'\n", ['config.toml:5 [[sinks]] "lims" urls: no such key; did you mean url?']),
    ("[aws]\nregoin = 'us-east-1'\n", ["config.toml:2 [aws] regoin: no such key; did you mean region?"]),
    ("[[aws]]\nregoin = 'us-east-1'\n", ["config.toml:2 [[aws]] regoin: no such key; did you mean region?"]),
    ('polling = { min_interval = "1s", max = 3 }\n', ["config.toml:1 [polling] max: no such key"]),
    (
        'polling.min_intervall = "1s"\n',
        ["config.toml:1 [polling] min_intervall: no such key; did you mean min_interval"],
    ),
    # values
    ('[polling]\nmin_interval = "5x"\n', ["config.toml:2 [polling] min_interval: expected a duration", 'not "5x"']),
    ("[polling]\nmin_interval = true\n", ["config.toml:2 [polling] min_interval: expected a duration", "not true"]),
    ("[polling]\nmin_interval = -1\n", ["config.toml:2 [polling] min_interval", "neither negative"]),
    ("[polling]\nmin_interval = 00:05:00\n", ["config.toml:2 [polling] min_interval: expected a duration"]),
    ("[polling]\nmin_interval = 'inf'\n", ["config.toml:2 [polling] min_interval: expected a duration"]),
    ("[polling]\nmin_interval = nan\n", ["config.toml:2 [polling] min_interval"]),
    ("[polling]\nmin_interval = '99999d'\n", ["config.toml:2 [polling] min_interval", "longer than a century"]),
    ("[polling]\nmin_interval = []\n", ["config.toml:2 [polling] min_interval: expected a duration"]),
    ("[polling]\nmax_calls_per_second = 0\n", ["config.toml:2 [polling] max_calls_per_second: must be more than 0"]),
    ("[polling]\nmax_calls_per_second = inf\n", ["config.toml:2 [polling] max_calls_per_second"]),
    ("[polling]\nmax_calls_per_second = 'x'\n", ["[polling] max_calls_per_second: expected a number", 'not "x"']),
    ("[watch]\ndiscover = 'perhaps'\n", ["config.toml:2 [watch] discover: expected true or false", '"perhaps"']),
    ("[watch]\ndiscover = 2\n", ["config.toml:2 [watch] discover: expected true or false"]),
    ("[watch]\nrun_ids = '1234567'\n", ['config.toml:2 [watch] run_ids: expected a list, such as ["a", "b"]']),
    (
        "[watch]\nrun_ids = [1234567]\n",
        ["config.toml:2 [watch] run_ids[0]: expected text, in quotes, and not 1234567"],
    ),
    (
        '[watch]\nrun_ids = [\n  "1",\n  "x1",\n]\n',
        ["config.toml:4 [watch] run_ids[1]: expected a run id of 1 to 18", '"x1"'],
    ),
    ('[watch]\nrun_ids = ["1234567890123456789"]\n', ["config.toml:2 [watch] run_ids[0]: expected a run id"]),
    ('[watch]\nrun_ids = [":12"]\n', ["config.toml:2 [watch] run_ids[0]: expected a run id"]),
    ('[watch]\nrun_ids = ["١٢"]\n', ["config.toml:2 [watch] run_ids[0]: expected a run id"]),
    (
        '[watch]\nrun_ids = ["arn:aws:omics:us-east-1:123456789012:workflow/1"]\n',
        ["config.toml:2 [watch] run_ids[0]: expected a run id"],
    ),
    ('[watch]\nemit_first = "sometimes"\n', ["config.toml:2 [watch] emit_first: expected 'always', 'terminal' or"]),
    ('[watch]\ndiscover = true\nrun_group_ids = ["x"]\n', ["config.toml:3 [watch] run_group_ids[0]"]),
    (
        '[watch]\ndiscover = true\nworkflow_ids = ["1", "rnaseq"]\n',
        ['config.toml:3 [watch] workflow_ids[1]: "rnaseq" does not fit here: discover only runs of these workflows'],
    ),
    ('[watch]\ntags = ["a"]\n', ["config.toml:2 [watch] tags: expected a table, such as { key"]),
    ("[watch]\ntags = { a = 1 }\n", ["config.toml:2 [watch] tags.a: expected text, in quotes, and not 1"]),
    ('[watch]\ndiscover = true\ntags = { "" = "b" }\n', ["config.toml:3 [watch] tags"]),
    ('[aws]\nregion = ""\n', ['config.toml:2 [aws] region: "" does not fit here']),
    ('[aws]\nendpoint_url = "localhost:4566"\n', ["config.toml:2 [aws] endpoint_url: expected an address that begins"]),
    ('[aws]\nname = "a:b"\n', ['config.toml:2 [aws] name: "a:b" does not fit here']),
    ('[store]\nurl = "mysql://x"\n', ["config.toml:2 [store] url: expected sqlite:///file.db"]),
    ('[store]\nurl = "sqlite://x.db"\n', ["config.toml:2 [store] url: expected sqlite:/// and the path"]),
    ('[http]\nlisten = "localhost"\n', ["config.toml:2 [http] listen: expected host:port"]),
    ('[http]\nlisten = "127.0.0.1:99999"\n', ["config.toml:2 [http] listen: expected host:port"]),
    ("[http]\nlisten = 8780\n", ["config.toml:2 [http] listen: expected text, in quotes, and not 8780"]),
    ('[privacy]\nomit = ["nam"]\n', ["config.toml:2 [privacy] omit[0]: expected 'name', 'tags'", '"nam"']),
    ('[privacy]\ninclude = ["tags"]\n', ["config.toml:2 [privacy] include[0]: expected 'parameters'"]),
    (
        '[log]\nlevel = "loud"\n',
        ["config.toml:2 [log] level: expected 'debug', 'info', 'warning' or 'error'", '"loud"'],
    ),
    ('[daemon]\ninstance = "a b/c"\n', ['config.toml:2 [daemon] instance: "a b/c" does not fit here']),
    # sinks
    ("[[sinks]]\n", ["config.toml:1 [[sinks]] type: is missing: the kind of sink"]),
    (
        '[[sinks]]\nname = "a"\ntype = "pots"\n',
        ['config.toml:3 [[sinks]] "a" type: no such type of sink "pots"; did you mean "post"?'],
    ),
    ('[[sinks]]\nname = "a"\ntype = "xyz"\n', ["config.toml:3", "there are broken, post, topic"]),
    ('[[sinks]]\nname = "a"\ntype = 5\n', ['config.toml:3 [[sinks]] "a" type: expected text, in quotes']),
    ('[[sinks]]\nname = "a"\ntype = "broken"\n', ["config.toml:3", "does not load: No module named nowhere"]),
    (
        '[[sinks]]\nname = "a"\ntype = "post"\n',
        ['config.toml:1 [[sinks]] "a" url: is missing: where events are posted'],
    ),
    (
        '[[sinks]]\ntype = "topic"\ntopic_arn = "arn:aws:sns:x"\n',
        ["config.toml:1 [[sinks]] name: is missing: the sink's identity"],
    ),
    ('[[sinks]]\nname = "a b"\ntype = "broken"\n[log]\nlevel = "x"\n', ['"a b" type:', "config.toml:5 [log] level"]),
    (
        '[[sinks]]\nname = "a"\ntype = "topic"\ntopic_arn = "arn:x"\n',
        [
            'config.toml:4 [[sinks]] "a" topic_arn: "arn:x" does not fit here: topic to publish to',
        ],
    ),
    (SINK + "concurrency = 0\n", ['config.toml:5 [[sinks]] "lims" concurrency: must be at least 1, and not 0']),
    (
        SINK + "concurrency = 1.5\n",
        ['config.toml:5 [[sinks]] "lims" concurrency: expected a whole number, and not 1.5'],
    ),
    (SINK + "concurrency = 5000\n", ["must be at most 1000, and not 5000"]),
    (SINK + "timeout = 0\n", ['config.toml:5 [[sinks]] "lims" timeout: must be longer than 0']),
    (SINK + "events = []\n", ['config.toml:5 [[sinks]] "lims" events: must not be empty']),
    (SINK + "events = 'failed'\n", ['config.toml:5 [[sinks]] "lims" events: expected a list']),
    (
        SINK + 'events = [\n  "failed",\n  "complete",\n]\n',
        ['config.toml:7 [[sinks]] "lims" events[1]: "complete" matches no event; did you mean "completed"?'],
    ),
    (SINK + 'events = ["FAILED"]\n', ['"FAILED" matches no event; did you mean "failed"?']),
    (SINK + 'events = ["healthomics.run.failed"]\n', ['did you mean "failed"?']),
    (SINK + 'events = ["zzz*"]\n', ['"zzz*" matches no event; there are pending, starting']),
    (SINK + "omit = ['status']\n", ['config.toml:5 [[sinks]] "lims" omit[0]: expected']),
    (SINK + "ports = [1, 2, 3]\n", ['config.toml:5 [[sinks]] "lims" ports: expected at most 2 entries']),
    (SINK + "ports = [1, 'x']\n", ['config.toml:5 [[sinks]] "lims" ports[1]: expected a whole number, and not "x"']),
    (SINK + "ratio = 1\n", ['config.toml:5 [[sinks]] "lims" ratio: must be less than 1, and not 1']),
    (SINK + "headers = 5\n", ['config.toml:5 [[sinks]] "lims" headers: expected a table']),
    (
        SINK + '[sinks.headers]\nA = "planted-in-the-text"\nB = 5\n',
        ['config.toml:7 [[sinks]] "lims" headers.B: expected text, in quotes'],
    ),
    (SINK + SINK, ['config.toml:6 [[sinks]] "lims" name: another sink is named "lims" too']),
    # keys that contradict each other
    (
        '[polling]\nmax_interval = "1m"\nmin_interval = "5m"\n',
        ["config.toml:3 [polling] min_interval (5m) is longer than max_interval (1m); lower the first or raise"],
    ),
    ("[polling]\nmin_interval = 0\n", ["config.toml:2 [polling] min_interval (0s) is too short; the least is 50ms"]),
    ('[polling]\nmin_interval = "49ms"\n', ["config.toml:2 [polling] min_interval (49ms) is too short"]),
    (
        '[[watch]]\n[[watch]]\nmin_interval = "49ms"\n[[watch]]\nmax_interval = 1\n',
        [
            "config.toml:3 [[watch]] number 2 min_interval (49ms) is too short; the least is 50ms",
            "config.toml:5 [[watch]] number 3 max_interval (1s) is shorter than [polling] min_interval (5s); raise",
        ],
    ),
    (
        '[watch]\nmin_interval = "5m"\nmax_interval = "1m"\n',
        ["config.toml:2 [watch] min_interval (5m) is longer than max_interval (1m); lower the first or raise"],
    ),
    (
        '[polling]\nmax_interval = "30s"\n[watch]\nmin_interval = "1m"\n',
        ["config.toml:4 [watch] min_interval (1m) is longer than [polling] max_interval (30s); lower it, or set"],
    ),
    ("[store]\nretention = 0\n", ["config.toml:2 [store] retention: would forget everything at once"]),
    (
        '[http]\nlisten = "0.0.0.0:80"\n',
        ["config.toml:2 [http] listen: is open to other machines, which needs a token"],
    ),
    ('[http]\nlisten = ":80"\n', ["config.toml:2 [http] listen: is open to other machines"]),
    ('[http]\nlisten = "[::]:80"\ntoken = ""\n', ["config.toml:2 [http] listen: is open to other machines"]),
    ('[watch]\nrun_group_ids = ["1"]\n', ["config.toml:2 [watch] run_group_ids: narrows discovery, which is off"]),
    ('[watch]\nworkflow_ids = ["1"]\n', ["config.toml:2 [watch] workflow_ids: narrows discovery, which is off"]),
    ('[watch]\ntags = { a = "b" }\n', ["config.toml:2 [watch] tags: narrows discovery, which is off; set discover"]),
    (
        '[[watch]]\n[watch.tags]\na = "b"\n[[watch]]\ndiscover = true\n',
        ["config.toml:2 [[watch]] number 1 tags: narrows discovery, which is off"],
    ),
    ('[watch]\nname_prefix = "x"\n', ["config.toml:2 [watch] name_prefix: narrows discovery, which is off"]),
    ('[watch]\naws = "lab"\n', ['config.toml:2 [watch] aws: no [aws] table is named "lab"; give it name = "lab"']),
    (
        '[aws]\nname = "research"\n[watch]\naws = "lab"\n',
        ['config.toml:4 [watch] aws: no [aws] table is named "lab"; there is research'],
    ),
    ('[watch]\nrun_ids = ["lab:1"]\n', ['config.toml:2 [watch] run_ids[0]: no [aws] table is named "lab"']),
    (
        f'[aws]\nregion = "eu-west-1"\n[watch]\nrun_ids = [\n"1",\n"{RUN}"]\n',
        ["config.toml:6 [watch] run_ids[1]: is in another region than [aws] region (eu-west-1); one [aws]"],
    ),
    ("[polling]\nblind_after = 0\n", ["config.toml:2 [polling] blind_after: must be longer than 0"]),
    ('[polling]\nvanish_deadline = "0s"\n', ["config.toml:2 [polling] vanish_deadline: must be longer than 0"]),
    (
        '[aws]\nendpoint_url = "http://127.0.0.1:notaport"\n',
        ["config.toml:2 [aws] endpoint_url: expected a port"],
    ),
    # several scopes
    (
        "[[aws]]\n[[aws]]\n",
        ["config.toml:2 [[aws]] number 2: another [[aws]] table without a name would ask the same region; give each a"],
    ),
    (
        '[[aws]]\nregion = "eu-west-1"\n[[aws]]\nprofile = "lab"\nregion = "eu-west-1"\n',
        ['config.toml:3 [[aws]] number 2: another [[aws]] table without a name is in region "eu-west-1" too; give'],
    ),
    (
        '[[aws]]\nname = "eu-west-1"\n[[aws]]\nregion = "eu-west-1"\n',
        ['config.toml:3 [[aws]] number 2: the name of one [[aws]] table is the region of another ("eu-west-1"); give'],
    ),
    (
        '[[aws]]\nname = "a"\n[[aws]]\nname = "a"\n',
        ['config.toml:4 [[aws]] "a" name: another [[aws]] table is named "a" too; names are unique'],
    ),
    (
        AB + "[[watch]]\ndiscover = true\n",
        ['config.toml:5 [[watch]]: there are 2 [[aws]] tables: say which one this is about, with aws = "a" or'],
    ),
    (AB + "[watch]\ndiscover = true\n", ["config.toml:5 [watch]: there are 2 [[aws]] tables: say which one"]),
    (AB + '[watch]\naws = "c"\n', ['config.toml:6 [watch] aws: no [aws] table is named "c"; there is a and b']),
    (
        AB + '[[watch]]\naws = "b"\nrun_ids = ["1", "a:1"]\n',
        ['config.toml:7 [[watch]] run_ids[1]: is of the scope "a"; name it in the [[watch]] of that one'],
    ),
    (
        AB + '[[watch]]\naws = "b"\nrun_ids = ["c:1"]\n',
        ['config.toml:7 [[watch]] run_ids[0]: no [aws] table is named "c"; there is b'],
    ),
    (
        '[[aws]]\nregion = "us-east-1"\n[[aws]]\nregion = "eu-west-1"\n'
        f'[[watch]]\naws = "eu-west-1"\nrun_ids = ["{RUN}"]\n',
        ["config.toml:7 [[watch]] run_ids[0]: is in another region than [aws] region (eu-west-1); name it"],
    ),
    # roles
    ('[aws]\nrole_arn = "watcher"\n', ['config.toml:2 [aws] role_arn: "watcher" does not fit here: role to assume']),
    (
        '[aws]\nexternal_id = "lab-1"\n',
        ["config.toml:2 [aws] external_id: goes with a role to assume; set role_arn too"],
    ),
    (
        f'[aws]\nrole_arn = "{ROLE}"\nexternal_id = "a b"\n',
        ['config.toml:3 [aws] external_id: "a b" does not fit here'],
    ),
    # not yet
    (
        '[[watch]]\ndiscover = true\nname_prefix = "a"\n[[watch]]\nname_prefix = "b"\n[[watch]]\nrun_ids = ["x"]\n',
        [
            "config.toml:5 [[watch]] number 2 name_prefix: narrows discovery, which is off",
            "config.toml:7 [[watch]] number 3 run_ids[0]: expected a run id",
        ],
    ),
    (
        f'[aws]\nregion = "eu-west-1"\n[[watch]]\n[[watch]]\nrun_ids = ["1", "{RUN}"]\n',
        ["config.toml:5 [[watch]] number 2 run_ids[1]: is in another region than [aws] region (eu-west-1)"],
    ),
    (
        '[watch]\nbatch_ids = ["cohort"]\n',
        ["config.toml:2 [watch] batch_ids[0]: expected a batch id of 1 to 18 digits"],
    ),
    (
        '[store]\nurl = "postgresql://u:planted-in-the-text@h/d"\n',
        ["config.toml:2 [store] url: PostgreSQL does not work yet"],
    ),
    # references, and what must not be shown
    ('[http]\ntoken = "${NONE}"\n', ["config.toml:2 [http] token: the environment variable NONE is not set"]),
    (
        SINK + 'secret = "${NONE}"\nheaders = { A = "${ALSO_NONE}" }\n',
        [
            'config.toml:5 [[sinks]] "lims" secret: the environment variable NONE',
            "config.toml:6",
            "ALSO_NONE is not set",
        ],
    ),
    ('[watch]\nrun_ids = [\n"1",\n"${NONE}"]\n', ["config.toml:4 [watch] run_ids[1]: the environment variable NONE"]),
    ('[log]\nlevel = "${file:none}"\n', ["config.toml:2 [log] level: the file none cannot be read: No such file"]),
    ('[log]\nlevel = "${file:.}"\n', ["config.toml:2 [log] level: the file . cannot be read: Is a directory"]),
    ('[log]\nlevel = "${file:}"\n', ["config.toml:2 [log] level: ${file:} names no file"]),
    ('[log]\nlevel = "${file:/dev/zero}"\n', ["config.toml:2 [log] level: the file /dev/zero is larger than 64 KiB"]),
    ('[log]\nlevel = "${file:binary}"\n', ["config.toml:2 [log] level: the file binary is not UTF-8"]),
    ('[log]\nlevel = "${file:a\\u0000b}"\n', ["config.toml:2 [log] level: the file", "cannot be read"]),
    ('[log]\nlevel = "${WORD"\n', ["config.toml:2 [log] level: a ${ is not closed", "$${"]),
    ('[log]\nlevel = "${WORD:-info}"\n', ["config.toml:2 [log] level: expected ${VARIABLE} or ${file:path}", "$${"]),
    ('[log]\nlevel = "${WORD}"\n', ["config.toml:2 [log] level: expected 'debug'"]),
    ('[polling]\nmin_interval = "${WORD}"\n', ["config.toml:2 [polling] min_interval: expected a duration"]),
    ('[watch]\nrun_ids = ["${WORD}"]\n', ["config.toml:2 [watch] run_ids[0]: expected a run id"]),
    (
        '[aws]\nregion = "x"\n[watch]\nrun_ids = ["${ARN}"]\n',
        ["config.toml:4", "is in another region than [aws] region (…)"],
    ),
    (
        '[[sinks]]\nname = "${WORD} ${WORD}"\ntype = "${SECRET}"\n',
        ["config.toml:3 [[sinks]] type: no such type of sink; there are"],
    ),
    (SINK + 'secret = "${BAD}"\n', ['config.toml:1 [[sinks]] "lims": the secret … is bad']),
    (SINK + 'secret = "bad-planted-in-the-text"\n', ["the secret … is bad"]),
    (SINK + 'secret = "${file:secret}"\nratio = 2\n', ["config.toml:6", "ratio: must be less than 1, and not 2"]),
    (SINK + 'secret = ["planted-in-the-text"]\n', ['config.toml:5 [[sinks]] "lims" secret: expected text, in quotes']),
    (SINK + 'sekret = "planted-in-the-text"\n', ["no such key; did you mean secret?"]),
    (SINK + 'events = ["${WORD}"]\n', ['config.toml:5 [[sinks]] "lims" events[0]: "…" matches no event']),
    ('[polling]\nmin_interval = "${MILLISECONDS}"\n', ["config.toml:2 [polling] min_interval (…) is too short"]),
    ('[watch]\nrun_ids = ["${SCOPED}"]\n', ['config.toml:2 [watch] run_ids[0]: no [aws] table is named "…"']),
    ('[log]\nlevel = "planted-in-the-text and so on, which is too long to be shown in a message"\n', ["[log] level"]),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[str(text)[:60] for text, _ in REFUSED])
def test_a_mistake_is_told_with_its_place_and_its_remedy(
    text: str | bytes, expected: list[str], load: Load, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("planted-in-a-file\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        load(text, ENVIRON)
    message = str(caught.value)
    for fragment in expected:
        assert fragment in message
    for never in (*PLANTED, "pydantic", "Traceback", "ValidationError", "validation error", "Input should"):
        assert never not in message
    for line in message.splitlines():
        assert re.match(r"config\.toml(:\d+)?[: ]", line), line
        assert len(line) < 400
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nowhere.toml", "nowhere.toml: no such file; `omics-poller init` writes one"),
        (".", ".: is a directory"),
        ("config.toml/x", "config.toml/x: cannot be read: Not a directory"),
        ("a\0b", "cannot be read"),
        ("/dev/zero", "/dev/zero: is larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(path: str, expected: str, load: Load) -> None:
    load("")
    with pytest.raises(ConfigError, match=re.escape(expected)):
        load_settings(Path(path), {})


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(load: Load) -> None:
    text = """\
stray = 1
[polling]
max_intervall = "1s"
min_interval = "2m"
blind_after = "x"
vanish_deadline = "10m"
[aws]
external_id = "lab-1"
[watch]
run_ids = ["12", "abc"]
[http]
listen = "0.0.0.0:1"
[[sinks]]
name = "lims"
type = "webhok"
[[sinks]]
name = "post"
type = "post"
events = ["completd"]
secret = "${NONE}"
[[sinks]]
name = "post"
type = "post"
url = "http://x/"
"""
    with pytest.raises(ConfigError) as caught:
        load(text)
    places = [re.sub(r"(: | \().*", "", line) for line in str(caught.value).splitlines()]
    assert [place.removeprefix("config.toml:") for place in places] == [
        "1 stray",
        "3 [polling] max_intervall",
        "4 [polling] min_interval",
        "5 [polling] blind_after",
        "8 [aws] external_id",
        "10 [watch] run_ids[1]",
        "12 [http] listen",
        '15 [[sinks]] "lims" type',
        '16 [[sinks]] "post" url',
        '19 [[sinks]] "post" events[0]',
        '20 [[sinks]] "post" secret',
        '22 [[sinks]] "post" name',
    ]


def test_what_is_wrong_by_itself_is_not_held_against_its_neighbours(load: Load) -> None:
    """A misspelt min_interval must not be reported a second time through the default that stands in for it."""
    with pytest.raises(ConfigError) as caught:
        load('[polling]\nmin_interval = "5 minutes"\nmax_interval = "1s"\n')
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[cohort]]\nname = "a"\nrun_nmae = "x*"\n', '3 [[cohort]] "a" run_nmae: no such key; did you mean run_name?'),
        ('[[cohort]]\nname = "a"\nrun_name = "x*"\nexpected = 0\n', '4 [[cohort]] "a" expected: must be at least 1'),
        (SINK + 'retry_waits = ["x"]\n', '5 [[sinks]] "lims" retry_waits[0]: expected a duration'),
    ],
)
def test_what_one_mistake_leaves_is_no_second_one(text: str, said: str, load: Load) -> None:
    """What is taken out since it is wrong is not told as missing, and a list whose entries are wrong is not empty."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"config.toml:{said}")


def test_a_name_with_a_line_break_keeps_its_sentence_in_one_line(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load('[[sinks]]\nname = "a\\nb"\ntype = "topic"\ntopic_arn = "arn:aws:sns:x"\n')
    assert str(caught.value).splitlines() == [
        r'config.toml:2 [[sinks]] "a\nb" name: "a\nb" does not fit here: '
        'the sink\'s identity: deliveries are owed to this name, such as "lims"'
    ]


def test_a_sentence_that_says_what_is_there_does_not_go_on_with_what_is_there() -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({"sinks": [{"name": "a", "type": "webhook", "url": "http://169.254.169.254/x"}]})
    assert str(caught.value).endswith("is the metadata service of a cloud, to which nothing is ever sent")


def test_a_mapping_is_refused_by_the_same_words_without_places() -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({"polling": {"max_intervall": 5}, "store": {"url": "postgresql://h/d"}})
    assert str(caught.value).splitlines() == [
        "[polling] max_intervall: no such key; did you mean max_interval?",
        "[store] url: PostgreSQL does not work yet; give a file, such as sqlite:///omics-poller.db",
    ]
