# The tier changes with a restart and loses nothing, prepared transactions outlive one, and databases come and go under
# the workers.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub change_tier
{
	my ($server, $tier, $mode) = @_;
	$server->adjust_conf('postgresql.conf', 'shared_preload_libraries', $tier eq 'dispatcher' ? "'millrace'" : "''");
	$server->stop($mode);
	$server->start;
	is($server->safe_psql('postgres', 'select tier from millrace.dispatcher'), $tier, "now on the $tier tier");
	return;
}

sub is_completed
{
	my ($server, $title, @runs) = @_;
	my $runs = join ',', @runs;
	is($server->safe_psql('postgres', "select count(*) from millrace.runs where run_id in ($runs) and state = 'completed'"),
		scalar @runs, "$title: the runs are completed");
	is($server->safe_psql('postgres', "select count(*), count(distinct (run_id, step_no)) from millrace.events
	                                    where run_id in ($runs) and kind = 'step_completed'"),
		12 * @runs . '|' . 12 * @runs, "$title: each step completed once");
	return;
}

sub await_warmth
{
	my ($server, $title) = @_;
	ok($server->poll_query_until('postgres', "select state = 'warm' and not needs_sweep from millrace.dispatcher"),
		"$title: the dispatcher gets warm");
	return;
}

# Every step that the tables show as ready is handed out by the first claims after a restart, cold or warm.
{
	my $server = create_server('cold', 'dispatcher');
	$server->start;
	install_workflow($server);
	for my $round (1 .. 3)
	{
		my @runs = submit($server, 20);
		my $agent = register($server);
		my @held = claim($server, $agent, 7);
		report($server, $agent, 0, @held[ 0 .. 2 ]);
		$server->stop('immediate');
		$server->start;
		my $ready = $server->safe_psql('postgres', "select count(*) from millrace.steps where state = 'ready'");
		is($ready, 13 + 30, "restart $round: what was ready is ready");
		my @found = claim($server, $agent, 1000);
		is(scalar @found, $ready, "restart $round: and claimed at once");
		await_warmth($server, "restart $round");
		is(scalar claim($server, $agent, 1000), 0, "restart $round: once");
		report($server, $agent, 0, @held[ 3 .. 6 ], @found);
		ok(settle($server, $agent), "restart $round: the rest is worked off");
		is_completed($server, "restart $round", @runs);
	}
	$server->stop;
}

# From tier to tier, with steps in every state.
{
	my $server = create_server('switched', 'plain');
	$server->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$server->start;
	install_workflow($server);
	$server->safe_psql('postgres', <<'SQL');
select millrace.define_workflow('{"workflow": "late", "steps": [{"key": "one", "handler": "noop", "delay": 0.5}, {"key": "two", "handler": "noop", "needs": ["one"]}]}')
SQL
	for my $tier ('dispatcher', 'plain', 'dispatcher', 'plain')
	{
		for my $mode ('fast', 'immediate')
		{
			my $agent = register($server);
			my @runs = submit($server, 3);
			my $waiting = $server->safe_psql('postgres', q{select millrace.submit('late')});
			my $paused = $server->safe_psql('postgres', q{select millrace.submit('fan')});
			$server->safe_psql('postgres', "select millrace.pause($paused)");
			my ($held, $done) = claim($server, $agent, 2);
			report($server, $agent, 0, $done);
			change_tier($server, $tier, $mode);

			$server->safe_psql('postgres', "select millrace.resume($paused)");
			my ($answer) = report($server, $agent, 0, $held);
			is($answer->[0], 'applied', "$tier, $mode: what was held is reported");
			ok(settle($server, $agent), "$tier, $mode: the rest is worked off");
			is_completed($server, "$tier, $mode", @runs, $paused);
			is($server->safe_psql('postgres', "select state from millrace.runs where run_id = $waiting"),
				'completed', "$tier, $mode: what waited has run");
			is($server->safe_psql('postgres', 'select count(*) from millrace_internal.ready'),
				'0', "$tier, $mode: nothing is left in the table of ready steps");
		}
	}
	$server->stop;
}

# What is prepared before a restart is committed, or rolled back, after it.
for my $tier (TIERS)
{
	my $server = create_server("prepared_$tier", $tier);
	$server->append_conf('postgresql.conf', 'max_prepared_transactions = 10');
	$server->start;
	install_workflow($server);
	for my $mode ('none', 'fast', 'immediate')
	{
		my $agent = register($server);
		my ($old) = submit($server, 1);
		$server->safe_psql('postgres', <<"SQL");
begin; set local millrace.notify = off; select millrace.submit('fan'); prepare transaction 'submitted';
begin; set local millrace.notify = off; select millrace.submit('fan'); prepare transaction 'forgotten';
begin; set local millrace.notify = off; select * from millrace.claim($agent, 1); prepare transaction 'claimed';
SQL
		if ($mode ne 'none') { $server->stop($mode); $server->start; }
		is(scalar claim($server, $agent, 10), 0, "$tier, restart $mode: what is prepared is nobody's yet");
		await_warmth($server, "$tier, restart $mode") if $tier eq 'dispatcher';
		$server->safe_psql('postgres', "commit prepared 'submitted'");
		$server->safe_psql('postgres', "rollback prepared 'forgotten'");
		$server->safe_psql('postgres', "rollback prepared 'claimed'");
		my ($new) = $server->safe_psql('postgres', "select max(run_id) from millrace.runs");
		ok(settle($server, $agent), "$tier, restart $mode: it is worked off once it has been decided");
		is_completed($server, "$tier, restart $mode", $old, $new);
	}
	$server->stop;
}

# Two databases of one server keep apart, and one of them goes while the workers are attached.
for my $tier (TIERS)
{
	my $server = create_server("databases_$tier", $tier);
	$server->start;
	install_workflow($server);
	my $agent = register($server);
	my @runs = submit($server, 2);
	for my $round (1, 2)
	{
		$server->safe_psql('postgres', 'create database other');
		$server->safe_psql('other', <<'SQL');
create extension millrace;
select millrace.define_workflow('{"workflow": "fan", "steps": [{"key": "only", "handler": "noop"}]}');
select millrace.submit('fan');
SQL
		ok($server->poll_query_until('other', 'select waker_pid is not null and keeper_pid is not null from millrace.dispatcher'),
			"$tier, round $round: the new database gets its workers") if $tier eq 'dispatcher';
		is($server->safe_psql('other', q{select count(*) from millrace.register_agent('{default}', '{noop}') a,
		                                 lateral millrace.claim(a.agent_id, 100)}),
			'1', "$tier, round $round: hands out its own step and no other's");
		$server->safe_psql('postgres', 'drop database other');
		is($server->safe_psql('postgres', q{select count(*) from pg_database where datname = 'other'}),
			'0', "$tier, round $round: it can be dropped");
	}
	ok(settle($server, $agent), "$tier: the first database works on");
	is_completed($server, "$tier, two databases", @runs);

	# The extension can go, and come back, in a database that stays.
	$server->safe_psql('postgres', 'drop extension millrace');
	install_workflow($server);
	@runs = submit($server, 1);
	ok(settle($server, register($server)), "$tier: dropped and created anew, it works");
	is_completed($server, "$tier, created anew", @runs);
	$server->stop;
}

# On the plain tier agents keep time: whoever writes what is due tells them, and what is due much later, or where nobody listens, tells nobody.
{
	my $server = create_server('told', 'plain');
	$server->start;
	install_workflow($server);
	$server->safe_psql('postgres', <<'SQL');
select millrace.define_workflow('{"workflow": "child", "steps": [{"key": "only", "wait_for": {"duration": 0}}]}');
select millrace.define_workflow('{"workflow": "parent", "steps": [{"key": "child", "workflow": "child"}]}');
select millrace.define_workflow('{"workflow": "late", "steps": [{"key": "only", "wait_for": {"duration": "1 h"}}]}');
SQL
	my $told = sub {
		my ($statement) = @_;
		return scalar(() = $server->safe_psql('postgres', "listen millrace_revoked; $statement") =~ /Asynchronous notification "millrace_revoked"/g);
	};
	is($told->("select millrace.submit('parent')"), 0, 'nobody listens, and nobody is told');
	my $agent = $server->safe_psql('postgres', "select agent_id from millrace.register_agent('{default}', '{noop}', lease => '1 h', listening => true)");
	is($told->("select millrace.submit('parent')"), 1, 'agents are told that a wait is over');
	is($told->("select millrace.submit('late')"), 0, 'and not of what is due later');
	my $beats = 0;
	$beats += $told->("select millrace.heartbeat($agent)")
	  while $server->safe_psql('postgres', "select count(*) from millrace.runs where workflow = 'parent' and state = 'running'") > 0;
	cmp_ok($beats, '>', 0, 'nor do the ends of runs wait for a heartbeat that nobody asked for');
	$server->stop;
}

done_testing();
