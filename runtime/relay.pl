# Carries bytes between us and a process, a monitor or a connection of a container, where Node lacks the system calls:
# pipes and terminals for exec, SOCK_SEQPACKET for attach, another network namespace for dial. Started by relay.ts, one
# for each session, and ends with it. Arguments: MODE, then what the mode says below; or "wait", and then they come on fd 3
# as a line, separated by spaces and percent-encoded. Loads nothing but strict and Config.
# fd 3 is control. To us: "started PID\n", "failed CODE TEXT\n", "exit N\n". From us: "resize ROWS COLUMNS\n"; its end
# means "go away", so that a killed daemon leaves no session behind.
use strict;
use Config;

my ($mode, @args) = @ARGV;
my %numbers = $Config{archname} =~ /^aarch64/
  ? (prctl => 167, recvmsg => 212, setns => 268, setsid => 157, pidfd_open => 434)
  : (prctl => 157, recvmsg => 47, setns => 308, setsid => 112, pidfd_open => 434);
my ($CLONE_NEWNET, $PR_SET_CHILD_SUBREAPER, $TIOCSWINSZ) = (0x40000000, 36, 0x5414);
my ($F_SETFD, $F_GETFL, $F_SETFL, $O_NONBLOCK, $FD_CLOEXEC) = (2, 3, 4, 2048, 1);
my ($EINTR, $EAGAIN) = (4, 11);
my ($AF_UNIX, $AF_INET, $AF_INET6, $SOCK_STREAM, $SOCK_SEQPACKET) = (1, 2, 10, 1, 5);
my $hangup_grace_seconds = 1;
my $kill_deadline_seconds = 5;

$0 = 'holdfast-relay wait';
$SIG{PIPE} = 'IGNORE';
open(my $control, '+<&=', 3) or die "no control: $!";
fcntl($control, $F_SETFD, $FD_CLOEXEC);

sub tell_us { my ($line) = @_; $line =~ s/[\r\n]+/ /g; syswrite($control, "$line\n"); }
sub give_up { my ($code, $text) = @_; tell_us("failed $code $text"); exit 0; }
$SIG{__DIE__} = sub { give_up(0, $_[0]); };
sub descriptor { my ($number, $way) = @_; open(my $fh, $way, $number) or give_up(0, "descriptor $number: $!"); return $fh; }
sub unblock { my ($fh) = @_; fcntl($fh, $F_SETFL, fcntl($fh, $F_GETFL, 0) | $O_NONBLOCK); }
sub pidfd { my $fd = syscall($numbers{pidfd_open}, $_[0] + 0, 0); return $fd < 0 ? undef : descriptor($fd, '<&='); }

# A flow reads only when what it read before is written, so that a slow reader slows the writer.
# source, target: undef once closed. chunk: bytes at most in one read. keep_source: others read and write it too.
# drain: once the target is gone what comes is thrown away, instead of telling the writer.
sub flow { my %flow = (buffer => '', chunk => 65536, @_); unblock($flow{source}); unblock($flow{target}); return \%flow; }
sub is_over { my ($flow) = @_; return $flow->{buffer} eq '' && !defined $flow->{source}; }

sub drop_source {
  my ($flow) = @_;
  close($flow->{source}) if defined $flow->{source} && !$flow->{keep_source};
  $flow->{source} = undef;
}

sub end_target {
  my ($flow) = @_;
  return unless defined $flow->{target};
  if (defined $flow->{at_end}) { $flow->{at_end}->($flow->{target}); }
  else { close($flow->{target}); }
  $flow->{target} = undef;
}

# Reads once; false when there is nothing to read now. A terminal that nobody has open answers EIO: that is its end.
sub fill {
  my ($flow) = @_;
  my $count = sysread($flow->{source}, $flow->{buffer}, $flow->{chunk});
  return 1 if $count;
  return 0 if !defined $count && ($! == $EAGAIN || $! == $EINTR);
  drop_source($flow);
  return 0;
}

sub spill {
  my ($flow) = @_;
  return if $flow->{buffer} eq '';
  if (!defined $flow->{target}) { $flow->{buffer} = ''; return; }
  my $count = syswrite($flow->{target}, $flow->{buffer});
  if (defined $count) { substr($flow->{buffer}, 0, $count) = ''; return; }
  return if $! == $EAGAIN || $! == $EINTR;
  # Nobody reads any more.
  ($flow->{buffer}, $flow->{target}, $flow->{is_broken}) = ('', undef, 1);
  drop_source($flow) unless $flow->{drain};
}

# One round: waits for something to do and does it. Returns those of the handles that are ready.
sub pump {
  my ($flows, $handles) = @_;
  my ($read, $write) = ('', '');
  for my $flow (@$flows) {
    if ($flow->{buffer} ne '' && defined $flow->{target}) { vec($write, fileno($flow->{target}), 1) = 1; }
    elsif (defined $flow->{source}) { vec($read, fileno($flow->{source}), 1) = 1; }
  }
  vec($read, fileno($_), 1) = 1 for @$handles;
  my $count = select(my $readable = $read, my $writable = $write, undef, undef);
  return () if $count < 0;
  my @ready = grep { vec($readable, fileno($_), 1) } @$handles;
  for my $flow (@$flows) {
    if ($flow->{buffer} eq '' && defined $flow->{source} && vec($readable, fileno($flow->{source}), 1)) { fill($flow); }
    spill($flow);
    end_target($flow) if is_over($flow);
  }
  return @ready;
}

# Reads what we are told; calls back for a new size. False when we should go away.
my $told = '';
sub listen_to_us {
  my ($resize) = @_;
  my $count = sysread($control, $told, 4096, length $told);
  return 1 if !defined $count && ($! == $EAGAIN || $! == $EINTR);
  return 0 unless $count;
  while ($told =~ s/^resize ([0-9]+) ([0-9]+)\n//) { $resize->($1, $2); }
  return 1;
}

# exec DIR HAS_TERMINAL HAS_STDIN OOM_SCORE_ADJ COMMAND...: runs a command of the OCI runtime in DIR that starts a process
# and leaves it behind, its pid in the file "pid"; the process becomes our child, its output goes to fd 1 and 2, fd 0 is
# its input. What the command said is in the file "log". DIR is removed as soon as the process runs.
sub run_exec {
  my ($dir, $has_terminal, $has_stdin, $oom_score_adj, @command) = @_;
  chdir $dir or give_up(0, "chdir $dir: $!");
  syscall($numbers{prctl}, $PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  my ($listener, @inside, @outside);
  if ($has_terminal) {
    # A relative name: those of sockets may have no more than 107 bytes.
    socket($listener, $AF_UNIX, $SOCK_STREAM, 0) or give_up(0, "socket: $!");
    bind($listener, pack('S a*', $AF_UNIX, "console\0")) or give_up(0, "bind: $!");
    listen($listener, 1);
  } else {
    # Pipes: what Node calls one is a socket, which a program cannot open again as /dev/stderr.
    for my $number ($has_stdin ? (0, 1, 2) : (1, 2)) {
      pipe(my $reader, my $writer) or give_up(0, "pipe: $!");
      ($inside[$number], $outside[$number]) = $number == 0 ? ($reader, $writer) : ($writer, $reader);
    }
  }
  my $starter = fork();
  give_up(0, "fork: $!") unless defined $starter;
  if ($starter == 0) {
    $SIG{PIPE} = 'DEFAULT';
    # Or the process could signal our own group from within the container, by kill 0.
    syscall($numbers{setsid});
    if (open(my $file, '>', '/proc/self/oom_score_adj')) { syswrite($file, $oom_score_adj); }
    # Not /dev/null: crun 1.8 makes the process's user the owner of what is there, and that is the host's /dev/null, which
    # its owner may take from everybody. A pipe without a writer is at its end just as well.
    for my $number (grep { !defined $inside[$_] } 0, 1, 2) {
      if ($number == 0) { pipe($inside[0], my $unused) or exit 126; }
      else { open($inside[$number], '>', 'unused') or exit 126; }
    }
    open(STDIN, '<&', $inside[0]); open(STDOUT, '>&', $inside[1]); open(STDERR, '>&', $inside[2]);
    exec { $command[0] } @command or exit 126;
  }
  @inside = ();
  my ($rows, $columns);
  my $starting = pidfd($starter);
  for (;;) {
    my @ready = pump([], [$control, $starting]);
    last if grep { $_ == $starting } @ready;
    next unless @ready;
    if (!listen_to_us(sub { ($rows, $columns) = @_; })) { kill_children(); remove_folder($dir); exit 0; }
  }
  waitpid($starter, 0);
  my $code = $? >> 8 || ($? & 127 ? 255 : 0);
  my ($said, $pid) = (content('log'), content('pid'));
  my $terminal = $has_terminal && $code == 0 ? receive_terminal($listener) : undef;
  close($listener) if defined $listener;
  remove_folder($dir);
  if ($code != 0) { kill_children(); give_up($code, $said); }
  my $handle = pidfd($pid) or give_up(0, "process $pid: $!");
  my $resize = sub { ioctl($terminal, $TIOCSWINSZ, pack('S4', @_, 0, 0)) if defined $terminal; };
  $resize->($rows, $columns) if defined $rows;
  tell_us("started $pid");

  my @outputs = $has_terminal
    ? flow(source => $terminal, target => descriptor(1, '>&='), keep_source => 1)
    : map { flow(source => $outside[$_], target => descriptor($_, '>&=')) } 1, 2;
  # A terminal's input ends by the character for it; the terminal itself stays.
  my @input = !$has_stdin ? ()
    : $has_terminal ? flow(source => descriptor(0, '<&='), target => $terminal, drain => 1, at_end => sub { syswrite($_[0], "\x04") })
    : flow(source => descriptor(0, '<&='), target => $outside[0], drain => 1);
  @outside = ();
  # With a terminal, fd 2 is unused; its other end should not wait for us.
  close(STDERR) if $has_terminal;

  my $ending;
  while (!defined $ending) {
    for my $ready (pump([@input, @outputs], [$control, $handle])) {
      if ($ready == $handle) { waitpid($pid, 0); $ending = $?; }
      elsif (!listen_to_us($resize)) { end_process($pid, $handle, $terminal); exit 0; }
    }
  }
  # What it wrote is in the pipes now. Others that still hold them open may write for ever: nobody waits for those.
  for my $flow (@outputs) {
    while (!is_over($flow)) {
      if ($flow->{buffer} eq '' && !fill($flow)) { drop_source($flow); last; }
      while ($flow->{buffer} ne '') {
        for my $ready (pump([grep { $_->{buffer} ne '' } @outputs], [$control])) { exit 0 unless listen_to_us(sub {}); }
      }
    }
    end_target($flow);
  }
  tell_us('exit ' . (($ending & 127) ? 128 + ($ending & 127) : $ending >> 8));
}

sub content { my ($name) = @_; open(my $file, '<', $name) or return ''; local $/; return <$file> // ''; }

# The terminal's other end comes over a socket, as a control message (SCM_RIGHTS) of one descriptor.
sub receive_terminal {
  my ($listener) = @_;
  accept(my $connection, $listener) or give_up(0, "accept: $!");
  my ($data, $rights) = ("\0" x 4096, "\0" x 24);
  my $vector = pack('P Q', $data, length $data);
  my $message = pack('Q L x4 P Q P Q L x4', 0, 0, $vector, 1, $rights, length $rights, 0);
  my $count = syscall($numbers{recvmsg}, fileno($connection), $message, 0);
  give_up(0, "recvmsg: $!") if $count < 0;
  my ($length, $level, $type, $fd) = unpack('Q l l l', $rights);
  give_up(0, 'the OCI runtime sent no terminal') unless $length == 20 && $level == 1 && $type == 1;
  return descriptor($fd, '+<&=');
}

sub remove_folder {
  my ($dir) = @_;
  if (opendir(my $names, '.')) { for my $name (readdir $names) { unlink $name unless $name =~ /^\.\.?$/; } }
  chdir '/';
  rmdir $dir;
}

# The OCI runtime and what it has started by now: our children, since we are their reaper.
sub kill_children {
  for (1 .. 100) {
    my @pids = split / /, content("/proc/$$/task/$$/children");
    last unless @pids;
    kill('KILL', @pids);
    waitpid($_, 0) for @pids;
  }
}

# As when a terminal is hung up: its group hears of it, and is killed if it stays. Without one it is killed at once.
sub end_process {
  my ($pid, $handle, $terminal) = @_;
  my $group = getpgrp($pid);
  my $target = $group > 1 && $group != getpgrp(0) ? -$group : $pid;
  my $ready = '';
  vec($ready, fileno($handle), 1) = 1;
  if (defined $terminal) {
    close($terminal);
    kill('HUP', $target);
    select(my $soon = $ready, undef, undef, $hangup_grace_seconds);
  }
  # Even if it has ended: its group may outlive it.
  kill('KILL', $target);
  select(my $late = $ready, undef, undef, $kill_deadline_seconds);
}

# attach DIR: fd 0 to the monitor's socket in DIR. What comes back is in the log as well, and is dropped.
sub run_attach {
  my ($dir) = @_;
  chdir $dir or give_up(0, "chdir $dir: $!");
  socket(my $monitor, $AF_UNIX, $SOCK_SEQPACKET, 0) or give_up(0, "socket: $!");
  connect($monitor, pack('S a*', $AF_UNIX, "attach\0")) or give_up(0, "connect to the monitor: $!");
  tell_us("started $$");
  # Small enough for one packet. The monitor tells the end of our input from our going away only by shutdown.
  my $input = flow(source => descriptor(0, '<&='), target => $monitor, chunk => 8192, drain => 1, at_end => sub { shutdown($_[0], 1); });
  for (;;) {
    for my $ready (pump([$input], [$control, $monitor])) {
      if ($ready == $control) { exit 0 unless listen_to_us(sub {}); next; }
      my $count = sysread($monitor, my $dropped, 65536);
      exit 0 if defined $count ? $count == 0 : $! != $EAGAIN && $! != $EINTR;
    }
  }
}

# dial PID START_TICKS PORT: connects to the port of loopback in the network of a process, IPv4 first; fd 4 is our end of
# the connection.
sub run_dial {
  my ($pid, $start_ticks, $port) = @_;
  open(my $namespace, '<', "/proc/$pid/ns/net") or give_up(0, "network of process $pid: $!");
  # Only now: if it is still the one, then what was opened was its own.
  my $stat = content("/proc/$pid/stat");
  $stat =~ s/^.*\)\s//s;
  give_up(0, 'the container has ended') unless ((split / /, $stat)[19] // '') eq $start_ticks;
  give_up(0, "setns: $!") if syscall($numbers{setns}, fileno($namespace), $CLONE_NEWNET) == -1;
  my $connection;
  socket($connection, $AF_INET, $SOCK_STREAM, 0) or give_up(0, "socket: $!");
  if (!connect($connection, pack('S n C4 x8', $AF_INET, $port, 127, 0, 0, 1))) {
    my $problem = "$!";
    socket($connection, $AF_INET6, $SOCK_STREAM, 0) or give_up(0, $problem);
    connect($connection, pack('S n N x15 C N', $AF_INET6, $port, 0, 1, 0)) or give_up(0, $problem);
  }
  tell_us("started $$");
  my $ours = descriptor(4, '+<&=');
  my $end_writing = sub { shutdown($_[0], 1); };
  my @flows = (
    flow(source => $connection, target => $ours, keep_source => 1, at_end => $end_writing),
    flow(source => $ours, target => $connection, keep_source => 1, at_end => $end_writing),
  );
  while (grep { !is_over($_) } @flows) {
    for my $ready (pump(\@flows, [$control])) { exit 0 unless listen_to_us(sub {}); }
    # A side that takes nothing any more takes the whole connection along.
    exit 0 if grep { $_->{is_broken} } @flows;
  }
}

if ($mode eq 'wait') {
  # Unbuffered, and no further than the line: what comes after it is for the session.
  my $line = '';
  while ($line !~ /\n\z/) { sysread($control, $line, 1, length $line) or exit 0; }
  ($mode, @args) = map { s/%([0-9A-F]{2})/chr hex $1/ger } split / /, $line =~ s/\n\z//r;
}
# What ps shows; the command that is run is nobody's business.
$0 = "holdfast-relay $mode $args[0]";
my %modes = (exec => \&run_exec, attach => \&run_attach, dial => \&run_dial);
($modes{$mode} // sub { give_up(0, "no mode $mode"); })->(@args);
