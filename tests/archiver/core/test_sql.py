"""What a user may say in SQL, and what not: each statement of two lists, and each way to hide a call in one."""

from __future__ import annotations

import json

import duckdb
import pytest

from archiver.core.sql import VIEWS, check
from archiver.core.sql_functions import FUNCTIONS
from shared.errors import BadRequest

# ruff: noqa: E501

ALLOWED = """
select 1
with x as (select 1) select a.b, count(*) filter (c>1) over (partition by d), [x+1 for x in l if x>2], list_transform(l, lambda y: y+1), * exclude(z), {'a':1}, cast(x as int), date '2020-01-01' from events e join (values (1)) v on true, unnest([1]) u where x in (select 1) and exists(select 1) order by 1 limit 3
from events
table events
with recursive r as (select 1 union all select 2 from r) select * from r
select current_user, now(), current_date, current_timestamp, today()
select 1 union select 2
select x::varchar(10), x::int[], x::struct(a int), x::decimal(10,2), x::json, cast(x as enum('a','b')), x::map(int,int), x::foo
select columns('a.*') from events
select columns(c -> c like 'a%') from events
select * from events tablesample 10%
values (1)
with a as materialized (select 1) select * from a, lateral (select 2)
select * from events positional join events
select * from events asof join messages m on events.ts >= m.ts
select try(1), trim(both 'x' from 'y'), extract(year from ts), position('a' in 'b'), x similar to 'y', a glob 'b', not a, a is null, substring(a from 1 for 2), 1=any([1]), row(1,2), (1,2), array[1], map{'a':1}, l[1], l[1:2], s.a, x->>'a', x->'b', ts at time zone 'UTC', interval 1 day, interval (x) days, a || b, a ~ 'b', a ilike 'b', a like 'b' escape 'c', a not in (1,2), a between 1 and 2, case a when 1 then 2 else 3 end, coalesce(a,b), ifnull(a,b), nullif(a,b), if(a,b,c), a collate nocase, -a, +a, a % b, a // b, a ** b, 5!, count(distinct a), string_agg(a, ',' order by b), a is distinct from b
select percentile_cont(0.5) within group (order by x), quantile_cont(x,0.5), row_number() over w, lag(x) over (order by y rows between 1 preceding and current row) from events window w as (order by ts) qualify row_number() over w = 1
select a from events group by all having count(*)>1 order by all
select a, b from events group by grouping sets ((a),(b)), cube(a), rollup(b)
select distinct on (a) a from events
select * replace (1 as a), * rename (a as b) from events
select * from events semi join messages using (channel, seq)
select #1 from events
select a from events limit 10%
select $$abc$$
select * from generate_series(1,3), range(5)
select unnest([1,2])
select * from (select 1) t(a)
select struct_pack(a := 1)
select a.b.c from events a
select grouping(a) from events group by a
select strftime(ts, '%Y') , time_bucket(interval 1 hour, ts), date_trunc('day', ts), epoch(ts), age(ts)
select 'x'::uuid
select exists(from events)
from messages select count(*)
select any_value(a order by b) from events
select array(select 1)
select (select 1)
select x from (values (1),(2)) t(x)
select a.* from events a anti join messages b using (seq)
select sum(x) filter (where x > 1) from events
select list(x order by y desc) from events
select json_extract_string(extras, '$.emoji'), extras->>'$.a' from events
select * from events e natural join messages
select x, y from events union by name select z from messages
select 1 except all select 2
select 1 intersect select 2
select * from events where (channel, seq) in (select channel, seq from messages)
select * from (events join messages using(seq))
""".strip().splitlines()

REFUSED = """
select * from 'f.parquet'
select * from "f.parquet"
select * from query('select 1')
select * from query_table('events')
select * from read_parquet('a')
select * from parquet_scan('a')
select * from glob('*')
select * from read_text('a')
select * from duckdb_settings()
select * from pragma_database_size()
select * from information_schema.tables
select * from pg_catalog.pg_tables
select * from duckdb_tables
select * from sqlite_master
select * from main.events
select * from temp.main.events
select current_setting('x')
select getvariable('x')
select getenv('HOME')
select stats(text) from events
select pg_sleep(1)
select sleep_ms(1)
select error('x')
select * from readable
with "a.parquet" as (select 1) select 1
with "/etc/passwd" as (select 1) select * from "/etc/passwd"
explain select 1
describe events
show tables
summarize events
select * from (describe events)
select * from (pivot events on kind in ('a') using count(*))
pivot events on kind using count(*)
select $1
select ?
insert into events values (1)
drop view events
create table x as select 1
set threads=1
pragma version
call pragma_version()
copy (select 1) to 'x'
attach 'x'
install httpfs
load httpfs
export database 'x'
select nextval('x')
select json_execute_serialized_sql('x')
select * from json_execute_serialized_sql('x')
select json_serialize_sql('select 1')
select * from events at (version => 1)
select x.y() from events
select system.main.getvariable('x')
select main.getvariable('x')
select * from arrow_scan(1,2,3)
select * from test_all_types()
select * from summary((select 1))
select * from repeat('a', 10)
select write_log('a')
select * from sniff_csv('x')
select count(*) from events where text = current_query()
select in_search_path('a','b')
prepare x as select 1
begin
vacuum
select * from which_secret('a','b')
select * from unnest(read_text('a'))
select (select max(content) from read_text('/etc/passwd'))
""".strip().splitlines()

HIDDEN = """
select list_transform([1], lambda x: getvariable('x'))
select * from events order by getvariable('x')
select * from events limit (select getvariable('x'))
select sum(1) over (order by getvariable('x'))
select sum(1) filter (where getvariable('x'))
select * from events join messages on getvariable('x')
with a as (select getvariable('x')) select 1
select case when true then getvariable('x') end
select * exclude(a) replace(getvariable('x') as b) from events
select columns(c -> getvariable('x')) from events
values (getvariable('x'))
select * from range(getvariable('x'))
select distinct on (getvariable('x')) 1
select cast(getvariable('x') as int)
select [getvariable('x')], {'a': getvariable('x')}, (getvariable('x')).a
select 1 group by getvariable('x')
select 1 having getvariable('x')
select 1 qualify getvariable('x')
select 1 where 1 between getvariable('x') and 2
select 1 union select getvariable('x')
""".strip().splitlines()
"""`getvariable('x')` wherever an expression may stand."""


def checked(query: str) -> frozenset[str]:
    """Parse and check."""
    row = duckdb.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    assert row is not None
    return check(json.loads(row[0]))


@pytest.mark.parametrize("query", ALLOWED)
def test_what_only_computes_is_allowed(query: str) -> None:
    """Everyday SQL in all its forms."""
    checked(query)


@pytest.mark.parametrize("query", REFUSED)
def test_what_reaches_further_is_refused(query: str) -> None:
    """Files, settings, the catalogue, other SQL, and every statement that is no SELECT."""
    with pytest.raises(BadRequest):
        checked(query)


@pytest.mark.parametrize("query", HIDDEN)
def test_a_call_is_found_wherever_it_stands(query: str) -> None:
    """No part of a statement is left out of the check."""
    with pytest.raises(BadRequest, match="the function getvariable is not allowed"):
        checked(query)
    checked(query.replace("getvariable('x')", "lower('x')"))


def test_the_views_that_are_used_are_named() -> None:
    """Only these have to be made."""
    assert checked("with events2 as (from Events) select * from events2, (select 1 from members)") == {
        "events",
        "members",
    }
    assert checked("select 1") == set()


def test_refusals_say_where() -> None:
    """The position counts from 1."""
    with pytest.raises(BadRequest, match=r"no table secrets: there are events, .* \(at character 15\)"):
        checked("select * from secrets")
    with pytest.raises(BadRequest, match=r"syntax error .* \(at character"):
        checked("select * frm events where")


def test_names_of_functions_are_real() -> None:
    """Each allowed name is a function of this DuckDB, and what reads more than its arguments is not among them."""
    rows = duckdb.execute("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()
    assert {name for name in FUNCTIONS if name.isidentifier()} <= {row[0] for row in rows} | {
        "unnest"
    } | SYNTAX
    assert not FUNCTIONS & {
        "getvariable",
        "current_setting",
        "stats",
        "query",
        "getenv",
        "read_text",
        "sleep_ms",
    }
    assert "readable" not in VIEWS


SYNTAX = {"current_date", "current_timestamp", "current_localtime", "current_localtimestamp"}


@pytest.mark.parametrize("tree", [{}, {"statements": []}, {"statements": [{"node": {"type": "NEW_NODE"}}]}])
def test_unknown_trees_are_refused(tree: dict[str, object]) -> None:
    """What a later parser says is refused until somebody has looked at it."""
    with pytest.raises(BadRequest):
        check(tree)
