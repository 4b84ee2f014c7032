# Every command works on a machine with Python 3.11 and pip: `pip install uv rust-just`, then `just up`.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

# Compiled once, when the packages are installed: the services then load in a third of the time.

export UV_COMPILE_BYTECODE := if path_exists(justfile_directory() / ".venv") == "true" { "0" } else { "1" }

# Also where the environment says not to (empty: no): each of some hundred processes would compile our own code.

export PYTHONDONTWRITEBYTECODE := ""

run := "uv run --frozen"

# List the recipes.
default:
    @just --list --unsorted

# Run the whole system on this machine until Ctrl-C; options as of `parley up --help`.
up *options:
    {{run}} parley up "$@"

# Three NATS servers (three copies of every log), two sequencers, two archivers, three edges.
cluster *options:
    {{run}} parley up --nats 3 --sequencers 2 --archivers 2 --edges 3 --durability quorum "$@"

# Stop what `just up` runs in this directory.
down:
    {{run}} parley down

# What runs, what the logs hold, how far the services are behind.
status:
    {{run}} parley status

# Restart every process of the running system, one after another; names or kinds limit it to these.
restart *names:
    {{run}} parley restart "$@"

# Any other command, `just parley sql "select count(*) from events"` for example.
parley *arguments:
    {{run}} parley "$@"

# All tests but those marked `faults`, in some processes; arguments go to pytest (`-m faults`: those; `-n 0`: in one).
test *arguments:
    {{run}} pytest -n auto --dist worksteal -m "not faults" "$@"

# Everything that has to hold before a commit.
check: format-check lint types imports test

# Rewrite the code in the one format.
format:
    {{run}} ruff format
    {{run}} ruff check --fix

format-check:
    {{run}} ruff format --check

lint:
    {{run}} ruff check

types:
    {{run}} mypy

imports:
    {{run}} lint-imports

# Write the AsyncAPI and OpenAPI documents and the reference anew, after a change of frames, routes or settings.
api:
    {{run}} python -m edge.api
    {{run}} python -m tests.support.reference

# Measure on this machine; names of benchmarks limit it to these.
bench *names:
    {{run}} parley bench "$@"

# Break processes, disks, networks and clocks under load, then prove that nothing is lost; `--cluster`, `--seed S`, `--minutes M`.
chaos *options:
    {{run}} python -m tests.chaos "$@"

# Plant bugs in copies of the services and see that the fault suite finds each; names limit it to these.
chaos-mutants *names:
    {{run}} python -m tests.chaos.mutants "$@"

# Run the pure cores over a faulty bus against a model, on all cores; `--seeds N`, `--seed FIRST`.
simulate *options:
    {{run}} python -m tests.simulation "$@"

# Delete the data of the local system (it must not run).
clean:
    test ! -e .parley/run.json || {{run}} parley down
    rm -rf .parley
