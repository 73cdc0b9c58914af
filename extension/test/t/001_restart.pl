# A server that is stopped, crashes, or loses a backend by force forgets nothing and repeats nothing.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Utils;
use Test::More;

# Each step has completed once, and once only, as the log has it.
sub is_complete
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

for my $tier (TIERS)
{
	my $server = create_server("restart_$tier", $tier);
	$server->start;
	install_workflow($server);

	for my $mode ('fast', 'immediate')
	{
		my @runs = submit($server, 3);
		my $agent = register($server);
		my ($held, @others) = claim($server, $agent, 3);
		my @made_ready = report($server, $agent, 0, @others);
		is_deeply([ map { $_->[0] } @made_ready ], [ 'applied', 'applied' ], "$tier, $mode: two of three are reported");

		$server->stop($mode);
		$server->start;

		# The agent is known, its lease runs, and what was made ready is handed out.
		my ($answer) = report($server, $agent, 0, $held);
		is($answer->[0], 'applied', "$tier, $mode: what was claimed before is reported after");
		($answer) = report($server, $agent, 0, $held);
		is($answer->[0], 'stale', "$tier, $mode: but not twice");
		ok(settle($server, $agent), "$tier, $mode: the rest is worked off");
		is_complete($server, "$tier, $mode", @runs);
	}

	# Work that nobody will report: its agent is gone when the server comes back, and another one takes over.
	my @runs = submit($server, 2);
	my $lost = $server->safe_psql('postgres',
		"select agent_id from millrace.register_agent('{default}', '{noop}', lease => '1 s')");
	is(scalar claim($server, $lost, 2), 2, "$tier: an agent claims");
	$server->stop('immediate');
	$server->start;
	ok(settle($server, register($server)), "$tier: its steps come back when its lease has run out");
	is_complete($server, "$tier, agent lost", @runs);

	# A backend that is killed takes the server through crash recovery, and its own open transaction with it.
	@runs = submit($server, 2);
	my $agent = register($server);
	my $session = $server->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('select pg_backend_pid()');
	$session->query_safe(q{begin; select millrace.submit('fan'); select count(*) from millrace.claim(} . $agent . ', 10)');
	my $before = $server->safe_psql('postgres', 'select pg_postmaster_start_time(), count(*) from millrace.runs');
	kill 'KILL', $pid;
	$session->{run}->kill_kill;
	await_recovery($server, $pid);
	is($server->safe_psql('postgres', 'select pg_postmaster_start_time(), count(*) from millrace.runs'),
		$before, "$tier: an open transaction dies with its backend");
	ok(settle($server, $agent), "$tier: and what it had claimed is claimed again");
	is_complete($server, "$tier, backend killed", @runs);

	# A run that is being undone goes on where it was, and nothing is undone twice.
	$server->safe_psql('postgres', q(select millrace.define_workflow('{"workflow": "undone", "defaults": {"handler": "noop"}, "steps": [
		{"key": "a", "compensate": {"handler": "noop"}}, {"key": "b", "needs": ["a"], "compensate": {"handler": "noop"}},
		{"key": "c", "needs": ["b"], "compensate": {"handler": "noop"}}, {"key": "d", "needs": ["c"], "handler": "nobody"}]}')));
	my $run = $server->safe_psql('postgres', q(select millrace.submit('undone')));
	for my $key ('a' .. 'c')
	{
		report($server, $agent, 0, claim($server, $agent, 1));
	}
	$server->safe_psql('postgres', "select millrace.cancel($run)");
	my ($undoing) = claim($server, $agent, 1);
	$server->stop('immediate');
	$server->start;
	my ($told) = report($server, $agent, 0, $undoing);
	is($told->[0], 'applied', "$tier: a compensation that was claimed before is reported after");
	($undoing) = claim($server, $agent, 1);
	$session = $server->background_psql('postgres', on_error_stop => 0);
	$pid = $session->query_safe('select pg_backend_pid()');
	$session->query_safe("begin; select answer from millrace.report($agent, '{$undoing->[0]}', '{$undoing->[1]}', '{$undoing->[2]}', '{completed}')");
	kill 'KILL', $pid;
	$session->{run}->kill_kill;
	await_recovery($server, $pid);
	is($server->safe_psql('postgres', "select string_agg(key || ' ' || state, ', ' order by step_no desc) from millrace.steps where run_id = $run and key like 'compensate:%'"),
		'compensate:c completed, compensate:b running, compensate:a pending', "$tier: a report that dies with its backend begins nothing");
	($told) = report($server, $agent, 0, $undoing);
	is($told->[0], 'applied', "$tier: it is made again");
	ok(settle($server, $agent), "$tier: the rest is undone");
	is($server->safe_psql('postgres', "select r.state, string_agg(s.key, ' ' order by e.event_id) from millrace.runs r join millrace.steps s using (run_id) join millrace.events e using (run_id, step_no)
	                                    where run_id = $run and e.kind = 'step_completed' group by r.state"),
		'cancelled|a b c compensate:c compensate:b compensate:a', "$tier: once each, and in order");

	$server->stop;
}

done_testing();
