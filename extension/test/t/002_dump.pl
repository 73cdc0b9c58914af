# pg_dump and pg_upgrade lose nothing; the copy waits until it is adopted, then goes on where the original was.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Runs in every stage: completed, half done with a step held by an agent, and untouched. Before the last of them the clock
# is stopped, lest the keeper take that step back between the look at the original and the look at the copy; durations are
# learnt once more, from what those submits have logged, and then no more.
sub prepare
{
	my ($server) = @_;
	install_workflow($server);
	# whose lease runs out where nobody renews it: in the copy
	my $agent = register($server, '10 s');
	submit($server, 3);
	work_off($server, $agent);
	submit($server, 2);
	my ($first, $held) = claim($server, $agent, 2);
	report($server, $agent, 0, $first);
	# an artifact that is complete, and one that is not
	my ($run, $step, $token) = @$held;
	for my $part ("'whole', 1, 'all', sha256 => sha256('all')", "'half', 1, 'ha'")
	{
		$server->safe_psql('postgres', "select millrace.store_artifact($agent, $run, $step, $token, $part)");
	}
	$server->safe_psql('postgres', "select millrace.set_clock(clock_timestamp() + interval '2 s')");
	$server->safe_psql('postgres', 'select millrace.keep()');
	$server->safe_psql('postgres', "select millrace.set_clock(clock_timestamp() + interval '4 s')");
	submit($server, 2);
	$server->safe_psql('postgres', 'select millrace.keep()');
	$server->poll_query_until('postgres', 'select looked_at = millrace_internal.clock() from millrace_internal.learning')
	  or die 'nothing is learnt';
	is($server->safe_psql('postgres', 'select count(*) > 0 from millrace.step_durations'), 't', 'durations have been learnt');
	return;
}

sub goes_on_when_adopted
{
	my ($copy, $title) = @_;
	my ($status, $output, $error) = $copy->psql('postgres', "\\set VERBOSITY verbose\nselect millrace.register_agent('{default}', '{noop}')");
	like($error, qr/MR024: this database is a copy.*millrace\.adopt/s, "$title: refuses agents");
	$copy->safe_psql('postgres', 'select millrace.adopt(), millrace.set_clock(null)');
	goes_on($copy, $title);
	return;
}

sub goes_on
{
	my ($copy, $title) = @_;
	my $agent = register($copy);
	ok(settle($copy, $agent), "$title: goes on when it has been adopted");
	is($copy->safe_psql('postgres', q{select count(*) from millrace.runs where state = 'completed'}),
		'7', "$title: every run completes");
	is($copy->safe_psql('postgres', q{select count(*), count(distinct (run_id, step_no)) from millrace.events where kind = 'step_completed'}),
		'84|84', "$title: each step completed once");
	my @new = submit($copy, 1);
	ok($new[0] > $copy->safe_psql('postgres', "select min(run_id) from millrace.runs"), "$title: new runs get new ids");
	return;
}

for my $tier (TIERS)
{
	my $original = create_server("original_$tier", $tier);
	# Many partitions: they are made at run time, and their rows are what a dump is about.
	$original->append_conf('postgresql.conf', "millrace.runs_per_partition = 256\nmillrace.events_per_partition = 256");
	$original->start;
	prepare($original);
	my $before = contents($original, 'postgres');
	my $archive = $original->backup_dir . '.dump';
	command_ok([ 'pg_dump', '--format=custom', "--file=$archive", $original->connstr('postgres') ], "$tier: dump");

	my $copy = create_server("copy_$tier", $tier);
	$copy->start;
	command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $copy->connstr('postgres'), $archive ], "$tier: restore");
	my $own = $copy->safe_psql('postgres', 'select system_identifier from pg_control_system()');
	my $after = join "\n", grep { !/installation.*\Q$own\E/ } split /\n/, contents($copy, 'postgres');
	is($after, $before, "$tier: every row and every sequence is in the copy");
	goes_on_when_adopted($copy, "$tier, restored");
	$copy->stop;

	my $script = $original->backup_dir . '.sql';
	command_ok([ 'pg_dump', "--file=$script", $original->connstr('postgres') ], "$tier: dump as a script");
	my $second = create_server("second_$tier", $tier);
	$second->start;
	command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $script, $second->connstr('postgres') ], "$tier: run it");
	goes_on_when_adopted($second, "$tier, restored from a script");
	$second->stop;

	# In the server that it came from a copy is at home: it works at once.
	$original->safe_psql('postgres', 'create database same');
	command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $original->connstr('same'), $archive ], "$tier: restore beside");
	is($original->safe_psql('same', q{select millrace.set_clock(null); select millrace_internal.is_home();
	     select count(*) from millrace.register_agent('{default}', '{noop}')}), "\nt\n1", "$tier, beside the original: at home");
	$original->safe_psql('postgres', 'drop database same');

	my $upgraded = create_server("upgraded_$tier", $tier);
	$original->stop;
	my $bin = $original->config_data('--bindir');
	command_ok(
		[
			'pg_upgrade', '--no-sync', '--old-datadir', $original->data_dir, '--new-datadir', $upgraded->data_dir,
			'--old-bindir', $bin, '--new-bindir', $bin, '--socketdir', $original->host,
			'--old-port', $original->port, '--new-port', $upgraded->port
		],
		"$tier: pg_upgrade");
	$upgraded->start;
	is(contents($upgraded, 'postgres'), $before, "$tier: every row and every sequence is in the upgraded cluster");
	goes_on_when_adopted($upgraded, "$tier, upgraded");
	$upgraded->stop;
}

done_testing();
