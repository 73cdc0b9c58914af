# A standby that is promoted takes over: the ready steps are known to it, and what the primary's agents held comes back.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub set_fault
{
	my ($server, $fault) = @_;
	$server->append_conf('postgresql.conf', "millrace.fault = '$fault'");
	$server->reload;
	return;
}

sub stopped_keeper
{
	my ($server) = @_;
	my $keeper;
	await('the keeper is there', sub { $keeper = $server->safe_psql('postgres', 'select keeper_pid from millrace.dispatcher') });
	await('it stops', sub { is_stopped($keeper) });
	return $keeper;
}

for my $tier (TIERS)
{
	my $primary = create_server("primary_$tier", $tier, allows_streaming => 1);
	$primary->start;
	install_workflow($primary);
	$primary->backup('base');

	my $standby = PostgreSQL::Test::Cluster->new("standby_$tier");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;

	my @runs = submit($primary, 3);
	my $agent = register($primary);
	my ($held, $done) = claim($primary, $agent, 2);
	report($primary, $agent, 0, $done);
	$primary->wait_for_catchup($standby);

	my ($status, $output, $error) = $standby->psql('postgres', "select * from millrace.claim($agent, 1)");
	isnt($status, 0, "$tier: a standby refuses to hand out work");
	is($standby->safe_psql('postgres', 'select count(*) from millrace.runs'), '3', "$tier: but shows its runs");

	$primary->stop('immediate');
	# its keeper stops before the dispatcher is filled: that makes no difference to what follows
	set_fault($standby, 'refill:stop') if $tier eq 'dispatcher';
	$standby->promote;
	my $keeper = $tier eq 'dispatcher' ? stopped_keeper($standby) : undef;
	my ($answer) = report($standby, $agent, 0, $held);
	is($answer->[0], 'applied', "$tier: what the primary handed out is reported to its successor");
	if ($keeper)
	{
		is($standby->safe_psql('postgres', 'select state, hits from millrace.dispatcher'), 'cold|0', "$tier: its memory is empty");
		my @steps = claim($standby, $agent, 2);
		is(scalar @steps, 2, "$tier: claims are served from the tables");
		report($standby, $agent, 0, @steps);
		set_fault($standby, '');
		await('the dispatcher is filled', sub { kill 'CONT', $keeper; $standby->safe_psql('postgres', 'select state from millrace.dispatcher') eq 'warm' });
		pass("$tier: then its memory is filled");
	}
	ok(settle($standby, $agent), "$tier: which works the rest off");
	is($standby->safe_psql('postgres', q{select count(*) from millrace.runs where state = 'completed'}),
		'3', "$tier: every run completes");
	$standby->stop;
}

done_testing();
