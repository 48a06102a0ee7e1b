"""Modules and names of version 0.1.0 that a program can have named are found under their former names."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pkgutil import walk_packages
from warnings import catch_warnings, simplefilter

import pytest

import charm_checkpoint
from charm_checkpoint.moved import LAST, MOVED, PACKAGE, present_name
from charm_checkpoint.values.serde.class_lookup import find_class

MODULES = """
backends backends.connections backends.hop backends.local backends.local_contents backends.local_driver
backends.local_folder backends.local_log backends.local_messages backends.local_survey backends.local_thread
backends.local_threads backends.loops backends.makers backends.marking backends.mounts backends.names backends.none
backends.notes backends.patience backends.pg_codes backends.pg_errors backends.pg_pools backends.pg_schema
backends.pg_wire backends.pools backends.postgres backends.procedures backends.ram backends.ram_contents
backends.redis backends.redis_backend backends.redis_clients backends.redis_driver backends.redis_errors
backends.redis_faults backends.redis_rows backends.redis_servers backends.redis_threads backends.redis_tls
backends.rpc backends.schema backends.signatures backends.sql backends.sql_reads backends.sql_steps
backends.sql_threads backends.sqlite backends.sqlite_file backends.supabase backends.supabase_errors
backends.supabase_http backends.tls backends.turns base cache charm charm.adapter charm.project charm.scaffold cli
cli.brief cli.commands cli.parser cli.terminal clock codec collector config conn_string contract contract_records demo
demo.agent demo.check demo.device demo.director demo.place effort errors filters foreign frames handle history
json_values langchain_messages langgraph_server leases leaves location logins manager masking memo memory messages
migrate official official.building official.decoding official.importing official.postgres official.rows
official.sqlite packed packing pending_writes pieces plan processes providers pyinstaller reader records registry
revive runs saver saver_listing saver_plans seen serde serde.arrays serde.bases serde.changes serde.classes
serde.columns serde.dates serde.enums serde.framing serde.hooks serde.known serde.living serde.marks serde.models
serde.objects serde.origins serde.rows serde.serializer serde.stacks serde.values serde.walk serde.writer servers
servers.account servers.base servers.certificate servers.cluster servers.keeper servers.lite servers.node
servers.pooler servers.postgresql servers.process servers.resp servers.sentinel servers.valkey_node store testing
testing.accidents testing.backend_checkpoints testing.backend_threads testing.base testing.changing testing.conflicts
testing.contexts testing.damage testing.foreign testing.graphs testing.half testing.large testing.messages
testing.moments testing.plain_types testing.runs testing.samples testing.saver_lists testing.saver_methods
testing.scenarios testing.sharing testing.texts testing.thread_lists testing.thread_names testing.turns threads
underway variables
""".split()
"""All modules of 0.1.0, below the package."""

NAMES = {
    "base": "BaseMemoryStore",
    "charm": "from_charm",
    "charm.adapter": "LangGraphCheckpointAdapter",
    "config": "Location Option above_zero at_most boolean choice duration expand mask merge parse_url read_options "
    "secret size suggest text whole",
    "contract": "Abilities Backend CheckpointRow Chunk Driver Found MessagesRow NewCheckpoint NewMessages NewWrites "
    "Outcome Page Query Reply ThreadPage ThreadRow ThreadState Usage Waiting",
    "errors": "CharmError ConfigError DataError InvalidFilter LoginRefused MissingExtra MissingServer NotSerializable "
    "ReadOnlyStore SchemaMismatch ServerFailed StoreClosed StoreCorrupt StoreError StoreUnavailable ThreadConflict "
    "ThreadDeleted ThreadExists TypeNotLoaded",
    "foreign": "Foreign adopt",
    "langchain_messages": "to_langchain to_messages",
    "langgraph_server": "checkpointer open_configured",
    "location": "Location parse_url",
    "manager": "StorageManager known_providers",
    "memory": "Memory open_memory",
    "messages": "CharmChatHistory MessageHistory",
    "official": "Failure ImportReport Progress import_official",
    "plan": "Compute MakePlan Plan run step",
    "providers": "LocalMemory NullMemory PostgresMemory RamMemory RedisMemory SqliteMemory StoreMemory SupabaseMemory "
    "ValkeyMemory",
    "registry": "StoreType available register_store resolve",
    "saver": "CharmSaver",
    "serde": "Fingerprint Serializer register_type",
    "servers": "PgBouncerServer PostgresServer SupabaseServer ValkeyCluster ValkeySentinel ValkeyServer pgbouncer "
    "postgres supabase valkey valkey_cluster valkey_sentinel",
    "store": "Store",
    "testing": "AccidentSuite BackendSuite ContractSuite GuaranteeSuite SaverSuite",
    "threads": "ThreadInfo",
}
"""Names in them that a program, or another store's, can have named."""

LOOK = """
import json, sys, warnings
from importlib import import_module

answer = {}
for name in json.loads(sys.argv[1]):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first = import_module(name)
        second = import_module(name)
    said = [str(one.message) for one in told if "former name" in str(one.message)]
    present = first.__name__
    same = first is second is sys.modules[name] is sys.modules[present] is import_module(present)
    answer[name] = [present, said, same and first.__spec__.name == present]
print(json.dumps(answer))
"""
"""Imports each name twice; prints what that gave, what was said, and whether it is the module of the present name."""


def python(program: str, *arguments: str, warnings: str = "error") -> str:
    """Run a program in a fresh process; return what it printed."""
    command = [sys.executable, "-W", warnings, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_module_is_found_and_says_where_it_is_now() -> None:
    names = [PACKAGE + name for name in MODULES]
    found = json.loads(python(LOOK, json.dumps(names), warnings="default"))
    assert list(found) == names
    for name, (present, said, same) in found.items():
        assert same, name
        assert present == (present_name(name) or name)
        if present == name:
            assert said == [], name
        else:
            assert len(said) == 1, name
            assert said[0] == f"{name} is {present} now; the former name goes in version {LAST}."


def test_no_present_name_is_a_former_one() -> None:
    assert set(MOVED) <= set(MODULES)
    present = [PACKAGE + name for name in MOVED.values()]
    assert [name for name in present if present_name(name) is not None] == []
    assert [name for name in present if find_spec(name) is None] == []


@pytest.mark.parametrize("module", NAMES)
def test_what_a_program_can_have_imported_is_there(module: str) -> None:
    present = import_module(present_name(PACKAGE + module) or PACKAGE + module)
    names = NAMES[module].split()
    with catch_warnings(record=True) as told:
        simplefilter("always")
        assert [name for name in names if not hasattr(present, name)] == []
    renamed = [name for name in names if name not in vars(present)]
    assert [str(one.message).split()[0] for one in told] == [f"{present.__name__}.{name}" for name in renamed]
    assert all(one.category is DeprecationWarning and one.filename == __file__ for one in told)
    for name in set(names) & set(charm_checkpoint.__all__):
        assert getattr(present, name) is getattr(charm_checkpoint, name)


def test_a_warning_is_about_the_line_that_imports() -> None:
    program = """
import warnings

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from charm_checkpoint import manager
    from charm_checkpoint.manager import StorageManager
    import charm_checkpoint.manager as again

assert len(told) == 1 and told[0].lineno == 6 and told[0].filename == "<string>", told
from charm_checkpoint.config.manager import StorageManager as present
assert StorageManager is present is manager.StorageManager is again.StorageManager
"""
    python(program)


def test_present_names_warn_of_nothing() -> None:
    modules = [
        found.name
        for found in walk_packages(charm_checkpoint.__path__, PACKAGE)
        if not found.name.endswith("__main__") and ".template" not in found.name and "hook-" not in found.name
    ]
    assert len(modules) > 150
    program = "import sys; from importlib import import_module; [import_module(name) for name in sys.argv[1:]]"
    python(program, *modules)


def test_public_names_warn_of_nothing() -> None:
    python("import charm_checkpoint; [getattr(charm_checkpoint, name) for name in charm_checkpoint.__all__]")


def test_the_path_in_langgraph_json_warns_of_nothing() -> None:
    program = """
from pkgutil import resolve_name
import charm_checkpoint.hosts.langgraph_server as present
assert resolve_name("charm_checkpoint.langgraph_server.checkpointer") is present.checkpointer
"""
    python(program)


@pytest.mark.parametrize(
    "path",
    [
        "charm_checkpoint.providers:SqliteMemory",
        "charm_checkpoint.providers:PostgresMemory",
        "charm_checkpoint.providers:NullMemory",
        "charm_checkpoint.charm.adapter:LangGraphCheckpointAdapter",
        "charm_checkpoint.pyinstaller:get_hook_dirs",
    ],
)
def test_an_entry_point_of_before_gives_the_same_object(path: str) -> None:
    module, _, name = path.partition(":")
    program = """
import sys
from importlib import import_module
from importlib.metadata import EntryPoint

former, present, name = sys.argv[1:]
assert EntryPoint("any", former, "charm.memory").load() is getattr(import_module(present), name)
"""
    python(program, path, present_name(module) or module, name, warnings="default")


def test_a_name_that_never_was_is_no_module() -> None:
    for name in ("charm_checkpoint.nothing", "charm_checkpoint.serde.nothing", "charm_checkpoint.backends.nothing"):
        with catch_warnings(), pytest.raises(ModuleNotFoundError, match="nothing"):
            simplefilter("ignore", DeprecationWarning)  # of the package above
            import_module(name)


def test_a_class_of_the_package_is_found_under_the_name_it_was_stored_under() -> None:
    from charm_checkpoint import ThreadInfo

    assert find_class("charm_checkpoint.threads:ThreadInfo") is ThreadInfo


def test_what_is_below_a_former_name_and_not_there_is_not_found() -> None:
    for name in ("charm_checkpoint.serde.nonsense", "charm_checkpoint.backends.nosuch"):
        assert find_spec(name) is None
        with pytest.raises(ModuleNotFoundError, match=name):
            import_module(name)


def test_former_names_are_attributes_of_the_package() -> None:
    with pytest.warns(DeprecationWarning, match="registry is charm_checkpoint.config.registry now"):
        assert charm_checkpoint.registry is import_module("charm_checkpoint.config.registry")


def test_threads_that_are_the_first_to_import_wait_for_no_one_in_a_circle() -> None:
    code = """
import importlib, sys, threading
failed, ready = [], threading.Barrier(len(sys.argv) - 1)
def load(name):
    ready.wait()
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=load, args=(name,)) for name in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(str(failed) if failed else 0)
"""
    rooms = (".importers", ".values.serde", ".config.registry", ".messages", ".saver", ".stores.sqlite.driver")
    names = ["charm_checkpoint", *(f"charm_checkpoint{room}" for room in rooms)]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
