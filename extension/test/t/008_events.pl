# Readers of events across what happens to servers: restarts and crashes, standbys and promotions, dumps restored into
# another cluster, partitions that retention drops.
use strict;
use warnings FATAL => 'all';
use FindBin;
use IPC::Run;
use lib "$FindBin::Bin/lib";
use Millrace;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant ROUNDS => 3;

# The events that a subscription gets, as sorted ids, and the position behind them; from a position or from the stored one.
sub read_events
{
	my ($server, $name, $limit, $after, $database) = @_;
	$after = $after ? "'$after'" : 'null';
	my @rows = map { [ split /\|/, $_, 2 ] } split /\n/, $server->safe_psql($database // 'postgres',
		"select event_id, position from millrace.read_events('$name', $limit, $after)");
	return ([ map { $_->[0] } @rows ], @rows ? $rows[-1][1] : undef);
}

sub commit_position
{
	my ($server, $name, $position, $database) = @_;
	$server->safe_psql($database // 'postgres', "select millrace.commit_position('$name', '$position')");
	return;
}

# Every event that there is, in the order of their numbers.
sub all_events
{
	my ($server, $database) = @_;
	return [ split /\n/, $server->safe_psql($database // 'postgres', 'select event_id from millrace.events order by 1') ];
}

sub fails_with
{
	my ($server, $statement, $code, $title) = @_;
	my ($status, $output, $error) = $server->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	like($error, qr/ERROR:  $code:/, $title);
	return;
}

sub survives_crashes
{
	my ($server, $tier) = @_;
	$server->safe_psql('postgres', q{select millrace.subscribe('crash', 'beginning')});
	submit($server, 5);
	my ($first, $position) = read_events($server, 'crash', 3);
	commit_position($server, 'crash', $position);
	my ($second, $unstored) = read_events($server, 'crash', 1);
	# open at the moment of the crash: its events never were
	my $session = $server->background_psql('postgres', on_error_stop => 0);
	$session->query_safe(q{begin; select millrace.submit('fan')});
	$server->stop('immediate');
	$session->{run}->kill_kill;
	$server->start;
	fails_with($server, "select millrace.commit_position('crash', '$unstored')", 'MR062',
		"$tier: a position that nobody stored is of no use after a crash");
	fails_with($server, "select millrace.read_events('crash', 1, '$unstored')", 'MR062', "$tier: nor to read on from");
	submit($server, 2);
	my ($rest) = read_events($server, 'crash', 1000);
	is_deeply([ @$first, @$rest ], all_events($server), "$tier: from the stored one on every event comes once");
	return;
}

# Writers of every kind, and a reader that notes what it gets in the transaction that stores its position. Reader, writers
# and server die at any moment: what has been noted is then what has been committed, each event once, runs in order.
sub reads_between_kills
{
	my ($server, $tier) = @_;
	$server->safe_psql('postgres', 'create database kills');
	install_workflow($server, undef, 'kills');
	$server->safe_psql('kills', <<'SQL');
create table noted (position bigint generated always as identity, event_id bigint, run_id bigint);
select millrace.subscribe('kills', 'beginning');
create procedure note(batch integer) language plpgsql as $$
declare
  count integer;
  last text;
begin
  with read as materialized (select e.event_id, e.run_id, e.position from millrace.read_events('kills', batch) e),
       kept as (insert into noted (event_id, run_id) select event_id, run_id from read)
  select count(*), (array_agg(r.position) filter (where r.position is not null))[count(r.position)] into count, last from read r;
  if last is not null then
    perform millrace.commit_position('kills', last);
  end if;
end $$;
create procedure note_on() language plpgsql as $$
begin
  loop
    call note(1 + (random() * 60)::integer);
    commit;
    perform pg_sleep(0.001);
  end loop;
end $$;
SQL
	my $script = $server->basedir . '/writer.sql';
	PostgreSQL::Test::Utils::append_to_file($script, <<'SQL') unless -e $script;
\set kind random(1, 4)
\set pause random(0, 3000)
begin;
select millrace.submit('fan') as run \gset
\if :kind = 1
  savepoint s;
  select millrace.submit('fan');
  \sleep :pause us
  rollback to s;
\elif :kind = 2
  savepoint s;
  select millrace.submit('fan');
  release s;
  \sleep :pause us
\elif :kind = 3
  \sleep :pause us
\endif
commit;
select millrace.pause(:run);
select millrace.resume(:run);
select millrace.cancel(:run);
SQL
	my $written = 0;
	for my $round (1 .. ROUNDS)
	{
		my @pgbench = ('pgbench', '--no-vacuum', '--client=4', '--time=600', "--file=$script", $server->connstr('kills'));
		my @programs = map { IPC::Run::start($_, '<', \undef, '>', \my $output, '2>', \my $error) }
		  \@pgbench, [ 'psql', '-X', '-c', 'call note_on()', $server->connstr('kills') ];
		$written = $server->safe_psql('kills', 'select count(*) from millrace.events') + 300;
		$server->poll_query_until('kills', "select count(*) >= $written from noted") or die 'nothing is read';
		my $reader = $server->safe_psql('kills', q{select pid from pg_stat_activity where query = 'call note_on()'});
		if ($round % 2)
		{
			# what a killed backend leaves behind nobody trusts: the server starts all over
			kill 'KILL', $reader;
			await_recovery($server, $reader);
		}
		else
		{
			kill_server($server);
			$server->start;
		}
		$_->kill_kill for @programs;
	}
	$server->safe_psql('kills', 'call note(100000)') for 1 .. 2;
	is($server->safe_psql('kills', <<'SQL'), '0|0|0|t', "$tier: killed, with writers and server, a reader loses nothing, repeats nothing, and keeps the order of each run");
select count(*) filter (where n.event_id is null), count(*) filter (where e.event_id is null), count(*) filter (where n.event_id < n.before),
       count(*) > 900
  from millrace.events e
  full join (select event_id, lag(event_id) over (partition by run_id order by position) as before from noted) n using (event_id)
SQL
	is($server->safe_psql('kills', 'select count(*) - count(distinct event_id) from noted'), '0', "$tier: each event once");
	$server->safe_psql('postgres', 'drop database kills with (force)');
	return;
}

# Kills the server's first process. The others notice, and until the last of them has ended no other server starts here.
sub kill_server
{
	my ($server) = @_;
	my $first = $server->{_pid};
	kill 'STOP', $first;
	my @processes = ($first, split / /, slurp_file("/proc/$first/task/$first/children"));
	$server->kill9;
	for my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return unless grep { -e "/proc/$_" } @processes;
		select undef, undef, undef, 0.1;
	}
	die 'the processes of a killed server did not end';
}

sub refuses_on_standby
{
	my ($primary, $tier) = @_;
	$primary->backup("standby_of_$tier");
	my $standby = PostgreSQL::Test::Cluster->new("reading_standby_$tier");
	$standby->init_from_backup($primary, "standby_of_$tier", has_streaming => 1);
	$standby->start;
	my ($first, $position) = read_events($primary, 'crash', 3);
	commit_position($primary, 'crash', $position);
	$primary->wait_for_catchup($standby);
	fails_with($standby, q{select millrace.read_events('crash')}, 'MR065', "$tier: a standby refuses to read");
	fails_with($standby, q{select millrace.subscribe('other')}, 'MR065', "$tier: and to subscribe");
	is($standby->safe_psql('postgres', q{select lag_events > 0 from millrace.subscriptions where name = 'crash'}),
		't', "$tier: but shows how far subscriptions are");
	$standby->promote;
	submit($standby, 1);
	my ($rest) = read_events($standby, 'crash', 1000);
	my %before = map { $_ => 1 } @$first;
	is_deeply([ sort { $a <=> $b } @$first, @$rest ], [ @{ all_events($standby) }[ 3 .. $#{ all_events($standby) } ] ],
		"$tier: promoted, it goes on where the primary was");
	$standby->stop;
	return;
}

# Whoever has read all there is, and listens, is told of the next commit with events.
sub is_woken
{
	my ($server, $tier) = @_;
	$server->safe_psql('postgres', q{select millrace.subscribe('wake')});
	my $listener = $server->background_psql('postgres');
	$listener->query_safe('listen millrace_events');
	for my $round (1 .. 2)
	{
		my ($ids, $position) = read_events($server, 'wake', 1000);
		commit_position($server, 'wake', $position) if @$ids;
		my $told = 0;
		submit($server, 1);
		for my $try (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
		{
			last if $told = $listener->query('select 1') =~ /"millrace_events"/;
			select undef, undef, undef, 0.01;
		}
		ok($told, "$tier: a reader that has read everything is woken, round $round");
	}
	$listener->quit;
	$server->safe_psql('postgres', q{select millrace.unsubscribe('wake')});
	return;
}

# Three subscriptions: one inside a window, one at the end of one, one that has read nothing.
sub goes_on_in_another_cluster
{
	my ($original, $tier) = @_;
	$original->safe_psql('postgres', q{select millrace.subscribe('inside', 'beginning'), millrace.subscribe('end', 'beginning'), millrace.subscribe('none', 'beginning')});
	# numbers of transactions far ahead of the copy's
	$original->safe_psql('postgres', 'do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$');
	submit($original, 3);
	my ($inside, $position) = read_events($original, 'inside', 4);
	commit_position($original, 'inside', $position);
	(my $end, $position) = read_events($original, 'end', 1000);
	commit_position($original, 'end', $position);
	submit($original, 3);

	my $archive = $original->backup_dir . '.events.dump';
	command_ok([ 'pg_dump', '--format=custom', "--file=$archive", $original->connstr('postgres') ], "$tier: dump");
	my $copy = create_server("events_copy_$tier", $tier);
	$copy->start;
	command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $copy->connstr('postgres'), $archive ], "$tier: restore");
	fails_with($copy, q{select millrace.read_events('end')}, 'MR024', "$tier: nobody reads in a copy");
	$copy->safe_psql('postgres', 'select millrace.adopt()');
	submit($copy, 2);
	my $session = $copy->background_psql('postgres');
	$session->query_safe(q{begin; select millrace.submit('fan')});
	submit($copy, 1);

	my %got = (inside => $inside, end => $end, none => []);
	my %position;
	for my $name (sort keys %got)
	{
		my ($ids, $after) = read_events($copy, $name, 2);
		while (@$ids)
		{
			push @{ $got{$name} }, @$ids;
			$position{$name} = $after;
			($ids, $after) = read_events($copy, $name, 2, $after);
		}
		commit_position($copy, $name, $position{$name});
	}
	$session->query_safe('commit');
	$session->quit;
	submit($copy, 1);
	for my $name (sort keys %got)
	{
		my ($ids) = read_events($copy, $name, 1000);
		is_deeply([ sort { $a <=> $b } @{ $got{$name} }, @$ids ], all_events($copy), "$tier, $name: every event once, in one cluster or the other");
	}
	$copy->stop;
	return;
}

# Partitions of 256 events; a day passes; what is older than an hour may go.
sub retains
{
	my ($server, $tier) = @_;
	$server->safe_psql('postgres', 'create database retention; alter database retention set millrace.events_per_partition = 256;'
		  . 'alter database retention set millrace.runs_per_partition = 1048576');
	install_workflow($server, undef, 'retention');
	my $sql = sub { return $server->safe_psql('retention', $_[0]) };
	my $partitions = sub { return $sql->(q{select count(*), min(from_id) from millrace_internal.partition where parent = 'event'}) };
	my $begins_at = sub {
		$server->poll_query_until('retention',
			"select min(from_id) = $_[0] from (select millrace.keep()) k, millrace_internal.partition where parent = 'event'") or die 'nothing was dropped';
	};
	my $keep = sub { $sql->(q{do $$ begin while millrace.keep() <= millrace_internal.clock() loop commit; end loop; end $$}) };
	$sql->(q{select millrace.set_clock('2030-01-01'); select millrace.subscribe('quick', 'beginning'), millrace.subscribe('slow', 'beginning')});
	$sql->(q{select count(millrace.submit($$fan$$)) from generate_series(1, 100)}) for 1 .. 10;
	$sql->(q{select millrace.set_clock('2030-01-02'); select count(millrace.submit($$fan$$)) from generate_series(1, 10)});

	$keep->();
	my ($made) = split /\|/, $partitions->();
	is($partitions->(), "$made|0", "$tier: by default events stay for ever");
	$sql->(q{alter database retention set millrace.events_retention = '2d'});
	$keep->();
	is($partitions->(), "$made|0", "$tier: and until they are old");
	$sql->(q{alter database retention set millrace.events_retention = '1h'});
	my ($ids, $position) = read_events($server, 'quick', 100000, undef, 'retention');
	commit_position($server, 'quick', $position, 'retention');
	($ids, $position) = read_events($server, 'slow', 300, undef, 'retention');
	commit_position($server, 'slow', $position, 'retention');
	$begins_at->(256);
	$keep->();
	like($partitions->(), qr/\|256$/, "$tier: what all have read goes; the rest waits for the slowest");

	$sql->(q{alter database retention set millrace.subscription_max_lag = '2d'});
	$keep->();
	like($partitions->(), qr/\|256$/, "$tier: as long as it is allowed to lag");
	# a writer that stays open is not made to wait, and makes nobody wait
	my $session = $server->background_psql('retention');
	$session->query_safe(q{begin; select millrace.submit('fan')});
	$sql->(q{alter database retention set millrace.subscription_max_lag = '1h'});
	$keep->();
	$session->query_safe('commit');
	$session->quit;
	$begins_at->(768);
	is($sql->(q{select name, overtaken_from, overtaken_to, overtaken_at from millrace.subscriptions where overtaken_to is not null}),
		'slow|256|767|2030-01-02 00:00:00+00', "$tier: then it is overtaken, which its row says");
	my $log = slurp_file($server->logfile);
	like($log, qr/retention has overtaken subscriptions: events 256 to 511 were dropped.*\n.*Behind were: slow\./, "$tier: and the log");
	my ($status, $output, $error) = $server->psql('retention', "\\set VERBOSITY verbose\nselect millrace.read_events('slow')");
	like($error, qr/MR064: retention has overtaken subscription "slow".*Events 256 to 767/s, "$tier: and so does its next look");
	is($sql->(q{select millrace.subscribe('slow')}), 'f', "$tier: it takes note of it");
	($ids) = read_events($server, 'slow', 100000, undef, 'retention');
	is_deeply($ids, [ grep { $_ > 300 } @{ all_events($server, 'retention') } ], "$tier: and reads on behind the gap");
	($ids) = read_events($server, 'quick', 100000, undef, 'retention');
	is(scalar @$ids, 1, "$tier: the other one has missed nothing");
	$server->safe_psql('postgres', 'drop database retention');
	return;
}

for my $tier (TIERS)
{
	my $server = create_server("events_$tier", $tier, allows_streaming => 1);
	$server->append_conf('postgresql.conf', "timezone = 'UTC'");
	$server->start;
	install_workflow($server);
	survives_crashes($server, $tier);
	reads_between_kills($server, $tier);
	is_woken($server, $tier) if $tier eq 'dispatcher';
	refuses_on_standby($server, $tier);
	goes_on_in_another_cluster($server, $tier);
	retains($server, $tier);
	$server->stop;
}

done_testing();
