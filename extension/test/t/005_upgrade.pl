# An installation of every released version is brought to the present one in the middle of a run, which goes on. What
# comes of it is what a fresh installation has, to the last comment and grant.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The catalog of the extension as text, one line an object or property: columns and functions by name, whatever their
# order and number; what was made at run time too.
use constant CATALOG => <<'SQL';
with spaces as (select oid, nspname from pg_namespace where nspname in ('millrace', 'millrace_internal')),
     relations as (select c.*, c.oid::regclass::text as name from pg_class c where c.relnamespace in (select oid from spaces)),
     functions as (select p.*, p.oid::regprocedure::text as name from pg_proc p where p.pronamespace in (select oid from spaces))
select 'schema ' || nspname || ' ' || array(select a::text from unnest(nspacl) a order by 1)::text
  from pg_namespace join spaces using (oid, nspname)
union all
select format('relation %s %s %s %s %s %s %s', name, relkind, relpersistence, reloptions, relreplident,
              array(select a::text from unnest(relacl) a order by 1), pg_get_expr(relpartbound, oid))
  from relations
union all
select format('partitioned %s %s', name, pg_get_partkeydef(oid)) from relations where relkind = 'p'
union all
select format('view %s %s', name, pg_get_viewdef(oid)) from relations where relkind = 'v'
union all
select format('index %s', pg_get_indexdef(oid)) from relations where relkind in ('i', 'I')
union all
select format('sequence %s %s %s %s %s %s %s', name, seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache)
  from relations join pg_sequence on seqrelid = oid
union all
select format('column %s.%s %s %s %s %s %s', name, attname, format_type(atttypid, atttypmod), attnotnull, attstorage,
              pg_get_expr(adbin, adrelid), array(select a::text from unnest(attacl) a order by 1))
  from relations r join pg_attribute a on attrelid = r.oid left join pg_attrdef on adrelid = attrelid and adnum = attnum
 where attnum > 0 and not attisdropped and relkind <> 'i'
union all
select format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  from pg_constraint where connamespace in (select oid from spaces)
union all
select format('function %s %s %s', name, array(select a::text from unnest(proacl) a order by 1), pg_get_functiondef(oid))
  from functions
union all
select format('comment %s %s', pg_describe_object(classoid, objoid, objsubid), description)
  from pg_description
 where objoid in (select oid from spaces union select oid from relations union select oid from functions
                  union select oid from pg_extension where extname = 'millrace')
union all
select format('member %s', pg_describe_object(classid, objid, objsubid))
  from pg_depend where refobjid = (select oid from pg_extension where extname = 'millrace') and deptype = 'e'
union all
select format('dumped %s %s', config.relation::regclass, config.condition)
  from pg_extension, unnest(extconfig, extcondition) config (relation, condition) where extname = 'millrace'
union all
select format('initially %s %s', pg_describe_object(classoid, objoid, objsubid), array(select a::text from unnest(initprivs) a order by 1))
  from pg_init_privs where objoid in (select oid from spaces union select oid from relations union select oid from functions)
SQL

sub catalog
{
	my ($server, $database) = @_;
	my $lines = $server->safe_psql($database, 'select replace(line, chr(10), chr(11)) from (' . CATALOG . ') l (line)');
	return join "\n", sort split /\n/, $lines;
}

# The first lines in which two catalogs differ.
sub difference
{
	my ($one, $other) = map { { map { $_ => 1 } split /\n/ } } @_;
	my @lines = ((map { "- $_" } grep { !$other->{$_} } sort keys %$one), (map { "+ $_" } grep { !$one->{$_} } sort keys %$other));
	return join "\n", map { substr $_, 0, 300 } @lines[ 0 .. ($#lines > 20 ? 20 : $#lines) ];
}

sub released_versions
{
	my ($server) = @_;
	return split /\n/, $server->safe_psql('postgres', <<'SQL');
select v.version from pg_available_extension_versions v join pg_available_extensions e using (name)
 where name = 'millrace' and v.version <> e.default_version order by string_to_array(v.version, '.')::int[]
SQL
}

for my $tier (TIERS)
{
	my $server = create_server("upgraded_$tier", $tier);
	$server->start;
	my @versions = released_versions($server);
	ok(scalar @versions, "$tier: there are released versions to upgrade from");
	for my $version (@versions)
	{
		my $title = "$tier, from $version";
		install_workflow($server, $version);
		my @runs = submit($server, 3);
		my $agent = register($server);
		my ($held, $done) = claim($server, $agent, 2);
		report($server, $agent, 0, $done);

		my ($status, $output, $error) = $server->psql('postgres', 'alter extension millrace update');
		is($status, 0, "$title: the extension is updated") or diag $error;
		my ($answer) = report($server, $agent, 0, $held);
		is($answer->[0], 'applied', "$title: what was held is reported after");
		push @runs, submit($server, 1);
		ok(settle($server, $agent), "$title: the runs go on");
		is($server->safe_psql('postgres', q{select count(*) from millrace.runs where state = 'completed'}),
			scalar @runs, "$title: and complete");
		is($server->safe_psql('postgres', q{select count(*), count(distinct (run_id, step_no)) from millrace.events where kind = 'step_completed'}),
			12 * @runs . '|' . 12 * @runs, "$title: each step completed once");

		$server->safe_psql('postgres', 'create database fresh');
		install_workflow($server, undef, 'fresh');
		$server->safe_psql('fresh', q{select millrace.submit('fan'), millrace.register_agent('{default}', '{noop}')});
		is(difference(catalog($server, 'fresh'), catalog($server, 'postgres')), '', "$title: the same as a fresh installation");
		$server->safe_psql('postgres', 'drop database fresh');
		$server->safe_psql('postgres', 'drop extension millrace');
	}
	$server->stop;
}

done_testing();
