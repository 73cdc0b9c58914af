-- How many versions a row has at most, dead ones included, as they stand on the pages of the engine's tables: while a
-- snapshot from before is held, none has been cleared away. A row is known by its first bytes, which are its key and
-- never change; so the tables that are updated are named here, with the length of those bytes.
with updated (name, key_bytes) as (
    values ('step', 16), ('run', 8), ('receipt', 16), ('agent', 4), ('duration', 8), ('rank', 4), ('learning', 1), ('sink', 2)),
relation as materialized (
    select u.name, u.key_bytes, c.oid::regclass as id
    from updated u join pg_class c on c.relnamespace = 'millrace_internal'::regnamespace and c.relkind = 'r'
         and (c.relname = u.name or c.relname ~ ('^' || u.name || '_[0-9]+$'))),
line as materialized (
    select r.name, substr(i.t_data, 1, r.key_bytes) as key, count(*) as versions
    from relation r, generate_series(0, pg_relation_size(r.id) / current_setting('block_size')::int - 1) page,
         heap_page_items(get_raw_page(r.id::text, page::int)) i
    where i.t_data is not null
    group by 1, 2),
-- a step's key ends with its number and its version, the lowest byte first
sorted as materialized (
    select l.name, l.versions,
           case when l.name = 'agent' then 'agent'
                when l.name = 'step' and exists (
                    select from millrace_internal.step_definition d
                    where d.needs_count > 1
                      and d.def_no = get_byte(l.key, 8) + (get_byte(l.key, 9) << 8) + (get_byte(l.key, 10) << 16)
                      and d.version_id = get_byte(l.key, 12) + (get_byte(l.key, 13) << 8) + (get_byte(l.key, 14) << 16)) then 'fan_in'
                else 'others' end as sort
    from line l)
select jsonb_build_object('versions',
    (select jsonb_object_agg(s.sort, s.most) from (select sort, max(versions) as most from sorted group by sort) s)
    || jsonb_build_object('most_written', (select name from sorted where sort = 'others' order by versions desc limit 1)));
