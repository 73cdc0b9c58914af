# A dispatcher that is too small for what waits: claims keep their order, every step is handed out, whoever waits is served.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Utils;
use Test::More;

use constant ENTRIES => 1024;

my $server = create_server('watermark', 'dispatcher');
$server->append_conf('postgresql.conf', 'millrace.dispatcher_entries = ' . ENTRIES);
$server->start;
install_workflow($server);
$server->safe_psql('postgres', <<'SQL');
select millrace.define_workflow('{"workflow": "one", "steps": [{"key": "a", "handler": "noop"}]}');
select millrace.define_workflow('{"workflow": "other", "steps": [{"key": "a", "handler": "noop", "queue": "other"}]}');
SQL
# Nobody sends heartbeats here, and what a lost agent holds would be handed out again.
sub register_patient
{
	my ($queue) = @_;
	return $server->safe_psql('postgres', "select agent_id from millrace.register_agent('{$queue}', '{noop}', lease => '1 h')");
}

my $agent = register_patient('default');
my $other = register_patient('other');

sub submit_many
{
	my ($workflow, $count, $options) = @_;
	return $server->safe_psql('postgres', "select count(*) from millrace.submit_many('$workflow', array_fill(null::jsonb, '{$count}')"
		  . ($options ? ", $options" : '') . ')');
}

sub look
{
	my ($columns) = @_;
	return $server->safe_psql('postgres', "select $columns from millrace.dispatcher");
}

# Claims until nothing is left; answers the runs in the order in which they came.
sub drain
{
	my ($claimer, $batch) = @_;
	my @runs;
	while (my @steps = claim($server, $claimer, $batch))
	{
		push @runs, map { $_->[0] } @steps;
		report($server, $claimer, 0, @steps);
	}
	return @runs;
}

sub await_warm
{
	ok($server->poll_query_until('postgres', q(select state = 'warm' from millrace.dispatcher)), 'the dispatcher is filled');
	return;
}

sub await_quiet
{
	return $server->poll_query_until('postgres',
		q(select not exists (select from millrace_internal.dispatcher_stats() where low)));
}

# The oldest come first, all the way, while the keeper refills.
await_warm();
submit_many('one', 5000);
is(look('depth <= ' . ENTRIES . ' and watermarks = 1 and not overflowed'), 't', 'what has no room stays behind a watermark');
my @runs;
for my $n (1 .. 50)
{
	my @steps = claim($server, $agent, 100);
	push @runs, map { $_->[0] } @steps;
	report($server, $agent, 0, @steps);
	ok(await_quiet(), 'the keeper keeps up') if $n % 5 == 0;
}
is(scalar @runs, 5000, 'all are handed out');
is_deeply(\@runs, [ sort { $a <=> $b } @runs ], 'in the order of their age');
is(look('watermarks'), '0', 'then no watermark is left');
cmp_ok(look('refills'), '>', 3, 'it was refilled from the tables');

# A full dispatcher makes room for a newcomer, and takes it from the longest line.
submit_many('one', 5000);
submit_many('other', 200);
my $missed = look('misses');
my @served = drain($other, 100);
is(scalar @served, 200, 'another queue is served');
is(look("misses - $missed"), '0', 'without a look into the tables');

# An older run's dependents go before newer runs, whatever waits.
my $fan = (submit($server, 1))[0];
submit_many('one', 10, 'priority => -5');
my @first = map { $_->[0] } claim($server, $agent, 10);
is($server->safe_psql('postgres', 'select count(*) from millrace.runs where priority = -5 and run_id in (' . join(',', @first) . ')'),
	'10', 'a better priority goes first');
$server->safe_psql('postgres', "select millrace.deregister_agent($agent)");
$agent = register_patient('default');

# Tenants take turns even if one of them came when the dispatcher was full.
submit_many('one', 300, q(tenant => 'small'));
my @claimed = map { $_->[0] } claim($server, $agent, 10), claim($server, $agent, 100);
my $small = $server->safe_psql('postgres',
	"select count(*) from millrace.runs where tenant = 'small' and run_id in (" . join(',', @claimed) . ')');
cmp_ok($small, '>=', 40, 'a tenant that came late has its turns');
$server->safe_psql('postgres', "select millrace.deregister_agent($agent)");
$agent = register_patient('default');

# Priorities mixed at random: a claim may be late by what has not been refilled, but nothing is forgotten.
for my $priority (3, -3, 0, 7)
{
	submit_many('one', 1500, "priority => $priority, tenant => 'mixed'");
}
my $waiting = $server->safe_psql('postgres', 'select count(*) from millrace_internal.step where state = 2');
@runs = drain($agent, 200);
is(scalar @runs, $waiting + 11, 'mixed priorities: every step is handed out');
my %seen;
is(scalar(grep { $seen{$_}++ } @runs), 11, 'and once only');

# Left over: nothing.
is(look('depth, popped, watermarks, overflowed, entries_used'), '0|0|0|f|0', 'nothing is left in memory');
is($server->safe_psql('postgres', q(select count(*) from millrace.runs where state <> 'completed')), '0', 'every run is completed');

# After a crash with more waiting than there is room for: claims go on from the tables, in order.
submit_many('one', 3000);
$server->stop('immediate');
$server->start;
@runs = drain($agent, 150);
is(scalar @runs, 3000, 'after a crash all are handed out');
await_warm();

# A sweep mends what somebody has broken: an entry that is lost without a trace.
submit_many('one', 5);
$server->safe_psql('postgres', <<'SQL');
select millrace_internal.dispatcher_remove(array_agg(run_id), array_agg(step_no)) from millrace_internal.step where state = 2;
SQL
is(scalar drain($agent, 10), 0, 'five steps are lost');
$server->safe_psql('postgres', 'select millrace.sweep()');
ok($server->poll_query_until('postgres', 'select depth = 5 from millrace.dispatcher'), 'a sweep finds them');
is(scalar drain($agent, 10), 5, 'and they are handed out');

$server->stop;
done_testing();
