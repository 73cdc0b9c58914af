# What the tests of whole servers share: clusters on either tier, a workflow, and an agent that works it off.
package Millrace;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(TIERS create_server install_workflow submit register claim report work_off settle
  await await_recovery is_stopped contents);

use constant TIERS => ('plain', 'dispatcher');

# A cluster that has been set up for a tier, not yet started. Data are safe on disk at each commit: crashes are the point.
sub create_server
{
	my ($name, $tier, %init) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);
	$server->init(%init);
	$server->append_conf('postgresql.conf', "fsync = on\nrestart_after_crash = on\nlog_statement = none");
	$server->append_conf('postgresql.conf', "shared_preload_libraries = 'millrace'") if $tier eq 'dispatcher';
	return $server;
}

# The extension (of a version, the present one by default), and a workflow: a first step, ten that need it, and a last
# one that needs those.
sub install_workflow
{
	my ($server, $version, $database) = @_;
	$version = $version ? "version '$version'" : '';
	$server->safe_psql($database // 'postgres', "create extension millrace $version;" . <<'SQL');
select millrace.define_workflow(jsonb_build_object('workflow', 'fan', 'defaults', '{"handler": "noop", "retry": {"limit": 3, "backoff": 0}}'::jsonb,
  'steps', '[{"key": "first"}]'::jsonb
           || (select jsonb_agg(jsonb_build_object('key', 'part ' || n, 'needs', '["first"]'::jsonb)) from generate_series(1, 10) n)
           || (select jsonb_build_array(jsonb_build_object('key', 'last', 'needs', jsonb_agg('part ' || n))) from generate_series(1, 10) n)));
SQL
	return;
}

# Starts runs; answers their ids.
sub submit
{
	my ($server, $count) = @_;
	return split /\n/, $server->safe_psql('postgres',
		"select run_id from generate_series(1, $count) n, lateral millrace.submit('fan', to_jsonb(n)) as run_id");
}

sub register
{
	my ($server, $lease) = @_;
	# an hour: no restart outlasts it, however busy the machine
	$lease //= '1 h';
	return $server->safe_psql('postgres', "select agent_id from millrace.register_agent('{default}', '{noop}', lease => '$lease')");
}

# Claims; answers the steps as [run_id, step_no, token].
sub claim
{
	my ($server, $agent, $limit) = @_;
	return rows($server, "select run_id, step_no, token from millrace.claim($agent, $limit)");
}

# Reports steps as completed; answers what was said of each, in order, then the steps that the call handed on.
sub report
{
	my ($server, $agent, $limit, @steps) = @_;
	my ($runs, $numbers, $tokens) = map { my $column = $_; join ',', map { $_->[$column] } @steps } 0 .. 2;
	my $outputs = join ',', map { "\"{\\\"step\\\": $_->[1]}\"" } @steps;
	my $outcomes = join ',', ('completed') x @steps;
	my $elapsed = join ',', (0.5) x @steps;
	return rows($server, "select answer, run_id, step_no, token from millrace.report($agent, '{$runs}', '{$numbers}',"
		  . " '{$tokens}', '{$outcomes}', '{$outputs}', elapsed => '{$elapsed}', max_steps => $limit)");
}

sub rows
{
	my ($server, $query) = @_;
	return map { [ split /\|/ ] } split /\n/, $server->safe_psql('postgres', $query);
}

# Does everything that can be done.
sub work_off
{
	my ($server, $agent) = @_;
	while (my @steps = claim($server, $agent, 1000))
	{
		while (@steps)
		{
			@steps = map { [ @$_[ 1 .. 3 ] ] } grep { $_->[0] eq 'started' } report($server, $agent, 1000, @steps);
		}
	}
	return;
}

# Works until nothing is left: what a dead agent held comes back when its lease has run out.
sub settle
{
	my ($server, $agent) = @_;
	for my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		work_off($server, $agent);
		return 1
		  if $server->safe_psql('postgres', "select count(*) from millrace.runs where state = 'running'") eq '0';
		$server->safe_psql('postgres', "select millrace.heartbeat($agent)");
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# Whether a process has stopped at a place that millrace.fault names.
sub is_stopped
{
	my ($pid) = @_;
	return `ps -o stat= -p $pid` =~ /^T/;
}

sub await
{
	my ($what, $condition) = @_;
	for my $try (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $condition->();
		select undef, undef, undef, 0.01;
	}
	die "waited in vain until $what";
}

# Waits until a server whose backend was killed has been through crash recovery. (poll_query_until will not do: psql
# hangs up on the query that it is being fed.)
sub await_recovery
{
	my ($server, $pid) = @_;
	for my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1
		  if !kill(0, $pid) && system('pg_isready', '--quiet', '--host', $server->host, '--port', $server->port) == 0;
		select undef, undef, undef, 0.1;
	}
	die 'the server did not come back';
}

# Every row of every table and the state of every sequence, in a form that two databases can be compared by. The table
# of ready steps is left out: it is an index of the others, filled anew where the work goes on. So are the runs that were
# alive when the horizon passed them, and the place in the log's files up to which durations have been learnt.
sub contents
{
	my ($server, $database) = @_;
	my $queries = $server->safe_psql($database, <<'SQL');
select format('select %L, %s::text from %s as t', c.oid::regclass,
              case c.relkind when 'S' then '(last_value, is_called)' else 't' end, c.oid::regclass)
  from pg_class c where c.relnamespace = 'millrace_internal'::regnamespace and c.relkind in ('r', 'S') and c.relname not in ('ready', 'learning', 'run_horizon', 'long_run')
 order by c.oid::regclass::text collate "C"
SQL
	return join "\n", sort map { split /\n/, $server->safe_psql($database, $_) } split /\n/, $queries;
}

1;
