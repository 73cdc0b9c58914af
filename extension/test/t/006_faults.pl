# A process that fails, is ended or is killed at the worst moments: no step is lost, and none is handed out twice.
#
# millrace.fault stops a process at a place in the code. Then it is killed (and the server goes through crash recovery),
# ended, or let go on. docs/dispatcher.md lists the places and says why each of them is harmless.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = create_server('faults', 'dispatcher');
$server->append_conf('postgresql.conf', "max_prepared_transactions = 4\nmillrace.dispatcher_entries = 1024");
$server->start;
install_workflow($server);
$server->safe_psql('postgres', q(select millrace.define_workflow('{"workflow": "one", "steps": [{"key": "a", "handler": "noop"}]}')));

sub ask
{
	my ($query) = @_;
	return $server->safe_psql('postgres', $query);
}

# Whatever lost its agent, this one takes over.
my $agent = ask(q(select agent_id from millrace.register_agent('{default}', '{noop}', lease => '1 h')));

# How often the keeper had come to an end when it stopped.
my $refills = 0;

# What happens to a process that has stopped. It has to be gone, or to have gone on, when this returns.
my %end = (
	kill => sub {
		my ($pid) = @_;
		kill 'KILL', $pid;
		await_recovery($server, $pid);
	},
	# one that goes on may come to the place again before it looks whether it is to end
	terminate => sub {
		my ($pid) = @_;
		kill 'TERM', $pid;
		await('the process has ended', sub { kill 'CONT', $pid; !kill 0, $pid });
	},
	# the keeper reads its settings when it rests
	continue => sub {
		my ($pid) = @_;
		await('the keeper has come to an end', sub { kill 'CONT', $pid; refills() > $refills });
	});

sub refills
{
	return ask('select refills + sweeps from millrace.dispatcher');
}

# What must hold after every accident: all that is ready is worked off, each step once, and the dispatcher is empty.
sub check
{
	my ($title) = @_;
	ok($server->poll_query_until('postgres', q(select state = 'warm' from millrace.dispatcher)), "$title: the dispatcher is filled");
	ok(settle($server, $agent), "$title: all is worked off");
	is(ask(q(select count(*) from millrace.runs where state <> 'completed')), '0', "$title: every run is completed");
	is(ask(q(select count(*) - count(distinct (run_id, step_no)) from millrace.events where kind = 'step_completed')),
		'0', "$title: no step twice");
	ok($server->poll_query_until('postgres', q(select popped = 0 and depth = 0 and entries_used = 0 from millrace.dispatcher)),
		"$title: nothing is left in memory");
	return;
}

# Runs a session up to where it stops and does to it what is to be done. An array before the statements is of those that
# come before the place may strike.
sub accident
{
	my ($title, $place, $how, @statements) = @_;
	my @before = ref $statements[0] ? @{ shift @statements } : ();
	submit($server, 2);
	my $other = ask(q(select agent_id from millrace.register_agent('{default}', '{noop}', lease => '1 h')));
	my $session = $server->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('select pg_backend_pid()');
	s/AGENT/$other/ for grep { !ref } @before, @statements;
	ref $_ ? $_->() : $session->query_safe($_) for @before;
	$session->query_safe("set millrace.fault = '$place:stop'") if $place;
	if ($place)
	{
		$session->query_until(qr/begun/, join("\n", '\echo begun', map { "$_;" } @statements) . "\n");
		await("$title stops", sub { is_stopped($pid) });
	}
	else
	{
		$session->query_safe($_) for @statements;
	}
	$end{$how}->($pid);
	$session->{run}->kill_kill;
	# what it holds goes back
	ask("select millrace.deregister_agent($other)");
	return;
}

my $runs = q(select count(*) from millrace.runs);
my @claim = ('select count(*) from millrace.claim(AGENT, 10)');
my @submit = (q(select millrace.submit('fan')));

# A report of the first steps of two runs: two of their twenty dependents are handed over, the others are pushed, and what
# is left of the agent's room is claimed.
my @held = (q(select count(millrace.submit('fan')) from generate_series(1, 2)),
	'create temp table held as select run_id, step_no, token from millrace.claim(AGENT, 2)');
my @report = (q(select count(*) from (select array_agg(run_id) as runs, array_agg(step_no) as steps, array_agg(token) as tokens from held) h,
  millrace.report(AGENT, h.runs, h.steps, h.tokens, '{completed,completed}', max_steps => 2)));
my @report_more = map { s/max_steps => 2/max_steps => 30/r } @report;
my %reports = (
	completed => [ 'its steps completed', @report ],
	handed_over => [ 'dependents handed over', @report ],
	pushed => [ 'dependents pushed', @report ],
	popped => [ 'more popped', @report_more ],
	started => [ 'more started', @report_more ],
	publish => [ 'committed, not published', @report_more ]);

sub completed
{
	return ask(q(select count(*) from millrace.events where kind = 'step_completed'));
}

for my $how ('kill', 'terminate')
{
	my $before = ask($runs);

	accident("push noted, $how", 'pushed', $how, @submit);
	is(ask($runs), $before + 2, "push noted, $how: what was not committed has never been");
	check("push noted, $how");

	accident("committed, not published, $how", 'publish', $how, @submit);
	is(ask($runs), $before + 5, "committed, not published, $how: the run is there");
	check("committed, not published, $how");

	accident("popped, $how", 'popped', $how, @claim);
	check("popped, $how");

	accident("claimed, not committed, $how", undef, $how, 'begin', @claim);
	check("claimed, not committed, $how");

	accident("claim committed, not forgotten, $how", 'publish', $how, @claim);
	check("claim committed, not forgotten, $how");

	accident("claim started, $how", 'started', $how, @claim);
	check("claim started, $how");

	for my $place (sort keys %reports)
	{
		my ($what, @statements) = @{ $reports{$place} };
		my $title = "report, $what, $how";
		my $done = completed();
		accident($title, $place, $how, \@held, @statements);
		is(completed(), $done + ($place eq 'publish' ? 2 : 0), "$title: it has been applied as a whole, or not at all");
		check($title);
	}

	accident("removed, $how", 'removed', $how, q(select count(millrace.cancel(run_id)) from millrace.runs where state = 'running'));
	is(ask(q(select count(*) from millrace.runs where state = 'cancelled')), '0', "removed, $how: nothing is cancelled");
	check("removed, $how");

	my $holder = $server->background_psql('postgres', on_error_stop => 0);
	accident("put back, $how", 'put_back', $how,
		[ sub { $holder->query_safe('begin; select count(*) from (select from millrace_internal.step where state = 2 for update) s') } ], @claim);
	# its locks go before the check: that it has ended, a crash or this has seen to
	$holder->query('rollback') if $how eq 'terminate';
	$holder->{run}->kill_kill;
	check("put back, $how");

	accident("rolling back, $how", 'rollback', $how, 'begin', @submit, @claim, 'rollback');
	check("rolling back, $how");

	accident("rolling back to a savepoint, $how", 'rollback', $how, 'begin', 'savepoint a', @claim, 'rollback to a', 'commit');
	check("rolling back to a savepoint, $how");

	accident("prepared, pops not given back, $how", 'prepared', $how, 'begin', @submit, @claim, q(prepare transaction 'p'));
	is(ask('select gid from pg_prepared_xacts'), 'p', "prepared, $how: the transaction is");
	ask(q(commit prepared 'p'));
	check("prepared, $how");

	accident("committed by another, not announced, $how", 'commit_prepared', $how,
		'begin', @submit, q(prepare transaction 'p'), q(commit prepared 'p'));
	is(ask('select count(*) from pg_prepared_xacts'), '0', "committed by another, $how: the transaction is");
	check("committed by another, $how");
}

# A claim passes over what another call holds, and takes what stands behind it.
my ($held, $free) = submit($server, 2);
my $holder = $server->background_psql('postgres', on_error_stop => 0);
$holder->query_safe("begin; select count(*) from (select from millrace_internal.step where run_id = $held for update) s");
my @behind = claim($server, $agent, 1);
is($behind[0][0], $free, 'what another call holds is passed over');
is(scalar claim($server, $agent, 1), 0, 'until there is nothing else');
$holder->query_safe('rollback');
$holder->{run}->kill_kill;
my @late = claim($server, $agent, 1);
is($late[0][0], $held, 'when it is free, it is handed out');
report($server, $agent, 0, @behind, @late);
check('what another call held');

# Errors where code may raise them.
for my $place ('pushed', 'popped')
{
	submit($server, 2);
	my ($status, $output, $error) = $server->psql('postgres',
		"set millrace.fault = '$place:error'; begin; select millrace.submit('fan'); select * from millrace.claim($agent, 10); commit");
	like($error, qr/struck at "$place"/, "$place: an error");
	check("error after $place");
}
# An error after the commit has nowhere to go: the server restarts itself.
submit($server, 2);
my ($status, $pid) =
	$server->psql('postgres', q(select pg_backend_pid(); set millrace.fault = 'publish:error'; select millrace.submit('fan')));
isnt($status, 0, 'an error after the commit is a crash');
await_recovery($server, $pid =~ /^(\d+)/);
check('error after the commit');

# The keeper, during a refill of everything; meanwhile claims are served from the tables.
sub set_fault
{
	my ($fault) = @_;
	ask("alter system set millrace.fault = '$fault'");
	ask('select pg_reload_conf()');
	return;
}

# The keeper or the waker; where one has just ended, its successor.
sub worker
{
	my ($name) = @_;
	my $pid;
	await("the $name is there", sub { $pid = ask("select ${name}_pid from millrace.dispatcher") });
	return $pid;
}

for my $place ('refill', 'refilled')
{
	for my $how ('kill', 'terminate', 'continue')
	{
		my $title = "$place, $how";
		submit($server, 2);
		ask(q(select millrace.submit_many('one', array_fill(null::jsonb, '{20}'))));
		set_fault("$place:stop");
		$server->stop('immediate');
		$server->start;
		my $keeper = worker('keeper');
		await("$title: the keeper stops", sub { is_stopped($keeper) });
		$refills = refills();
		is(ask('select state from millrace.dispatcher'), 'cold', "$title: not filled yet");
		my @steps = claim($server, $agent, 5);
		is(scalar @steps, 5, "$title: a claim is served from the tables");
		my @others = claim($server, $agent, 5);
		is(scalar @others, 5, "$title: and another one");
		report($server, $agent, 0, @steps, @others);
		ask(q(select millrace.submit('fan')));
		ask('alter system reset millrace.fault');
		ask('select pg_reload_conf()');
		$end{$how}->($keeper);
		check($title);
	}
}

# A sweep of what is filled already: claims are served from memory, and go on being so.
for my $how ('kill', 'terminate', 'continue')
{
	my $title = "sweep, $how";
	my @runs = submit($server, 20);
	my $keeper = worker('keeper');
	$refills = refills();
	set_fault('refill:stop');
	ask('select millrace.sweep()');
	await("$title: the keeper stops", sub { is_stopped($keeper) });
	my $missed = ask('select misses from millrace.dispatcher');
	report($server, $agent, 0, claim($server, $agent, 5));
	ask(q(select millrace.submit('fan')));
	is(ask("select state = 'warm' and misses = $missed from millrace.dispatcher"), 't', "$title: a claim is served from memory");
	set_fault('');
	$end{$how}->($keeper);
	check($title);
}

# A refill of what had no room: claims are served from memory, then from the tables.
for my $how ('kill', 'terminate', 'continue')
{
	my $title = "behind a watermark, $how";
	ask(q(select count(*) from millrace.submit_many('one', array_fill(null::jsonb, '{3000}'))));
	my $keeper = worker('keeper');
	$refills = refills();
	set_fault('refill:stop');
	# more than there is room for
	for my $n (1 .. 15)
	{
		report($server, $agent, 0, claim($server, $agent, 100));
	}
	await("$title: the keeper stops", sub { is_stopped($keeper) });
	my $missed = ask('select misses from millrace.dispatcher');
	while (ask('select misses from millrace.dispatcher') == $missed)
	{
		my @steps = claim($server, $agent, 100);
		die "$title: nothing is claimable" unless @steps;
		report($server, $agent, 0, @steps);
	}
	pass("$title: claims are served from the tables, too");
	ask(q(select count(*) from millrace.submit_many('one', array_fill(null::jsonb, '{500}'))));
	set_fault('');
	$end{$how}->($keeper);
	check($title);
}

# A sweep, and a refill of what had no room, that fail and fail again.
set_fault('refill:error');
ask(q(select count(*) from millrace.submit_many('one', array_fill(null::jsonb, '{3000}'))));
ask('select millrace.sweep()');
my $served = 0;
while (my @steps = claim($server, $agent, 100))
{
	$served += @steps;
	report($server, $agent, 0, @steps);
}
is($served, 3000, 'a refill that fails: all is served all the same');
is(ask('select needs_sweep or state = \'cold\' from millrace.dispatcher'), 'f', 'a refill that fails: it is being tried');
set_fault('');
check('a refill that failed');

# The waker, with the flags taken and nobody told; its successor tells everybody. It is told of what a claim gives back that is
# rolled back: of what becomes ready, its own transaction may tell.
for my $how ('kill', 'terminate')
{
	submit($server, 1);
	my $claimant = $server->background_psql('postgres', on_error_stop => 0);
	$claimant->query_safe("begin; select count(*) from millrace.claim($agent, 10)");
	is(scalar claim($server, $agent, 1), 0, "wake, $how: nothing to do, and room for more");
	set_fault('wake:stop');
	my $waker = worker('waker');
	$claimant->query_safe('rollback');
	$claimant->{run}->kill_kill;
	await('the waker stops', sub { is_stopped($waker) });
	ask('alter system reset millrace.fault');
	my $listener = $server->background_psql('postgres', on_error_stop => 0);
	ask('select pg_reload_conf()');
	if ($how eq 'terminate')
	{
		my $queue = ask(q(select queue_id from millrace_internal.queue where name = 'default'));
		$listener->query_safe("listen millrace_queue_$queue");
		$end{$how}->($waker);
		await('the next waker has told', sub { $listener->query('select 1') =~ /millrace_queue/ });
		pass('wake, terminate: the next waker tells');
	}
	else
	{
		$end{$how}->($waker);
	}
	$listener->{run}->kill_kill;
	check("wake, $how");
}

# A transaction that tells hungry agents by itself, and comes to nothing: they stay hungry, and the next one tells them. The
# waker is stopped meanwhile.
my $channel = 'millrace_queue_' . ask(q(select queue_id from millrace_internal.queue where name = 'default'));
for my $how ('kill', 'error')
{
	my $title = "told, $how";
	my $before = ask($runs);
	my $starve = sub { is(scalar claim($server, $agent, 1), 0, "$title: nothing to do, and room for more") };
	if ($how eq 'error')
	{
		$starve->();
		my ($status, $output, $error) =
			$server->psql('postgres', q(set millrace.fault = 'told:error'; select millrace.submit('fan')));
		like($error, qr/struck at "told"/, "$title: the transaction fails");
	}
	else
	{
		# its own two runs are worked off first
		accident($title, 'told', 'kill', [ sub { settle($server, $agent) }, $starve ], @submit);
	}
	is(ask($runs), $before + ($how eq 'error' ? 0 : 2), "$title: it has never been");
	if ($how eq 'kill')
	{
		$server->poll_query_until('postgres', q(select state = 'warm' from millrace.dispatcher)) or die "$title: the dispatcher stays cold";
		$starve->();
	}

	my $listener = $server->background_psql('postgres', on_error_stop => 0);
	$listener->query_safe("listen $channel");
	my $waker = worker('waker');
	kill 'STOP', $waker;
	submit($server, 1);
	await("$title: the next one tells", sub { $listener->query('select 1') =~ /$channel/ });
	kill 'CONT', $waker;
	$listener->{run}->kill_kill;
	check($title);
}

$server->stop;
done_testing();
