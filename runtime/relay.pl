# Carries bytes between us and a process, a monitor or a connection of a container, where Node lacks the system calls:
# namespaces, pipes and terminals for exec, SOCK_SEQPACKET for attach, another network namespace for dial. One process
# for each session, forked by the one that relay-host.ts starts (mode "host", below); one that has done a "join" waits for
# another. Loads nothing but strict: what is loaded is in the memory of each.
# Over its control a session tells us "started PID\n", "failed CODE TEXT\n", "exit N\n", and hears "resize ROWS COLUMNS\n"; its
# end means "go away", so that a killed daemon leaves no session behind.
use strict;

# e_machine of elf(5).
my $EM_AARCH64 = 183;
my $machine = unpack('x18 S', content('/proc/self/exe', 20));
my %numbers = $machine == $EM_AARCH64
  ? (prctl => 167, recvmsg => 212, setns => 268, setsid => 157, pidfd_open => 434, dup3 => 24, memfd_create => 279,
     execve => 221, exit_group => 94, openat => 56, pipe2 => 59, fchown => 55, madvise => 233,
     rt_sigaction => 134, write => 64, chdir => 49, umask => 166, setgroups => 159, setresuid => 147, setresgid => 149, capset => 91, prlimit64 => 261, close => 57,
     close_range => 436, getcwd => 17, keyctl => 219, rt_sigprocmask => 135, signalfd4 => 74, open_tree => 428, mount_setattr => 442)
  : (prctl => 157, recvmsg => 47, setns => 308, setsid => 112, pidfd_open => 434, dup3 => 292, memfd_create => 319,
     execve => 59, exit_group => 231, openat => 257, pipe2 => 293, fchown => 93, madvise => 28,
     rt_sigaction => 13, write => 1, chdir => 80, umask => 95, setgroups => 116, setresuid => 117, setresgid => 119, capset => 126, prlimit64 => 302, close => 3,
     close_range => 436, getcwd => 79, keyctl => 250, rt_sigprocmask => 14, signalfd4 => 289, open_tree => 428, mount_setattr => 442);
my ($CLONE_NEWNET, $TIOCSWINSZ) = (0x40000000, 0x5414);
my ($PR_SET_DUMPABLE, $PR_SET_KEEPCAPS, $PR_SET_SECCOMP, $PR_CAPBSET_DROP) = (4, 8, 22, 24);
my ($PR_SET_CHILD_SUBREAPER, $PR_SET_NO_NEW_PRIVS, $PR_CAP_AMBIENT) = (36, 38, 47);
my ($F_SETFD, $F_GETFL, $F_SETFL, $FD_CLOEXEC, $AT_FDCWD) = (2, 3, 4, 1, -100);
my ($O_RDONLY, $O_WRONLY, $O_NONBLOCK, $O_CLOEXEC, $O_PATH) = (0, 1, 2048, 0x80000, 0x200000);
my ($MSG_PEEK, $MSG_NOSIGNAL, $WNOHANG) = (2, 0x4000, 1);
my ($EPERM, $ENOENT, $EINTR, $EBADF, $EAGAIN, $EACCES, $ENOTDIR, $EINVAL, $ENOSYS) = (1, 2, 4, 9, 11, 13, 20, 22, 38);
my ($SIGFPE, $SIGPIPE) = (8, 13);
my $path_max = 4096;
my ($AF_UNIX, $AF_INET, $AF_INET6, $SOCK_STREAM, $SOCK_SEQPACKET) = (1, 2, 10, 1, 5);
my ($SIG_BLOCK, $SIG_UNBLOCK, $SFD_NONBLOCK_CLOEXEC) = (0, 1, 0x80800);
my $children_signal = pack('Q', 1 << 16); # a set of SIGCHLD alone
my $hangup_grace_seconds = 1;
my $kill_deadline_seconds = 5;

$SIG{PIPE} = 'IGNORE';
# The daemon's to the host, and what relays tell of themselves; while one has a session, $control is that of the session.
my ($control_place, $word_place) = (3, 5);
open(my $host_control, '+<&=', $control_place) or die "no control: $!";
fcntl($host_control, $F_SETFD, $FD_CLOEXEC);
my $control = $host_control;
# What else the session has: stdin, stdout, stderr and connection.
my %streams;

sub tell_us { my ($line) = @_; $line =~ s/[\r\n]+/ /g; syswrite($control, "$line\n"); }
# Whoever writes to one who has gone is told of that alone, and not of what that one said before: where we are to be given a word
# yet, it is waited for. It comes, or else the end of control.
my $awaits_word;
sub give_up {
  my ($code, $text) = @_;
  tell_us("failed $code $text");
  sysread($control, my $word, 1) if $awaits_word;
  exit 0;
}
$SIG{__DIE__} = sub { give_up(0, $_[0]); };
# Perl would first take apart all that it has, which copies every page of it (2 ms) while others wait for the processor.
END { syscall($numbers{exit_group}, $? + 0); }
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
    exit 126 if take(leaving_keyring()) ne '';
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
  carry($pid, $terminal, flows_of($has_stdin, $terminal, @outside), $rows, $columns);
}

# Those of the session's streams, for a process that has @outside as its 0, 1 and 2, or a terminal: of its input and its outputs.
sub flows_of {
  my ($has_stdin, $terminal, @outside) = @_;
  my $has_terminal = defined $terminal;
  my @outputs = $has_terminal
    ? flow(source => $terminal, target => delete $streams{stdout}, keep_source => 1)
    : map { flow(source => $outside[$_->[0]], target => delete $streams{$_->[1]}) } [1, 'stdout'], [2, 'stderr'];
  # A terminal's input ends by the character for it; the terminal itself stays.
  my @input = !$has_stdin ? ()
    : $has_terminal ? flow(source => delete $streams{stdin}, target => $terminal, drain => 1, at_end => sub { syswrite($_[0], "\x04") })
    : flow(source => delete $streams{stdin}, target => $outside[0], drain => 1);
  # With a terminal that of errors is unused; its other end should not wait for us.
  %streams = ();
  return (\@input, \@outputs);
}

# The session of a process that runs, a child of ours.
sub carry {
  my ($pid, $terminal, $input, $outputs, $rows, $columns) = @_;
  my $handle = pidfd($pid) or give_up(0, "process $pid: $!");
  my $resize = sub { ioctl($terminal, $TIOCSWINSZ, pack('S4', @_, 0, 0)) if defined $terminal; };
  $resize->($rows, $columns) if defined $rows;
  # Last: whoever hears it takes our processor.
  tell_us("started $pid");

  my $ending;
  while (!defined $ending) {
    for my $ready (pump([@$input, @$outputs], [$control, $handle])) {
      if ($ready == $handle) { $ending = ending_of($pid); }
      elsif (!listen_to_us($resize)) { end_process($pid, $handle, $terminal); exit 0; }
    }
  }
  # What it wrote is in the pipes now. Others that still hold them open may write for ever: nobody waits for those.
  for my $flow (@$outputs) {
    while (!is_over($flow)) {
      if ($flow->{buffer} eq '' && !fill($flow)) { drop_source($flow); last; }
      while ($flow->{buffer} ne '') {
        for my $ready (pump([grep { $_->{buffer} ne '' } @$outputs], [$control])) { exit 0 unless listen_to_us(sub {}); }
      }
    }
    end_target($flow);
  }
  tell_us('exit ' . (($ending & 127) ? 128 + ($ending & 127) : $ending >> 8));
}

# `run --detach` of crun makes the process from one of its own, which ends a moment after crun has: until then that is the parent,
# and the process may have ended already. Source: crun, libcrun_container_run.
sub ending_of {
  my ($pid) = @_;
  for (;;) {
    my $ended = waitpid(-1, 0);
    return $? if $ended == $pid;
    give_up(0, 'somebody else was told how it ended; run it again') if $ended < 0;
  }
}

# All of it, or so many bytes.
sub content {
  my ($name, $bytes) = @_;
  open(my $file, '<', $name) or return '';
  local $/ = defined $bytes ? \$bytes : undef;
  return <$file> // '';
}

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

# attach DIR: stdin to the monitor's socket in DIR. What comes back is in the log as well, and is dropped.
sub run_attach {
  my ($dir) = @_;
  chdir $dir or give_up(0, "chdir $dir: $!");
  socket(my $monitor, $AF_UNIX, $SOCK_SEQPACKET, 0) or give_up(0, "socket: $!");
  connect($monitor, pack('S a*', $AF_UNIX, "attach\0")) or give_up(0, "connect to the monitor: $!");
  tell_us("started $$");
  # Small enough for one packet. The monitor tells the end of our input from our going away only by shutdown.
  my $input = flow(source => $streams{stdin}, target => $monitor, chunk => 8192, drain => 1, at_end => sub { shutdown($_[0], 1); });
  for (;;) {
    for my $ready (pump([$input], [$control, $monitor])) {
      if ($ready == $control) { exit 0 unless listen_to_us(sub {}); next; }
      my $count = sysread($monitor, my $dropped, 65536);
      exit 0 if defined $count ? $count == 0 : $! != $EAGAIN && $! != $EINTR;
    }
  }
}

# dial PID START_TICKS PORT: connects to the port of loopback in the network of a process, IPv4 first, for the session's connection.
sub run_dial {
  my ($pid, $start_ticks, $port) = @_;
  open(my $namespace, '<', "/proc/$pid/ns/net") or give_up(0, "network of process $pid: $!");
  # Only now: if it is still the one, then what was opened was its own.
  give_up(0, 'the container has ended') unless start_ticks($pid) eq $start_ticks;
  give_up(0, "setns: $!") if syscall($numbers{setns}, fileno($namespace), $CLONE_NEWNET) == -1;
  my $connection;
  socket($connection, $AF_INET, $SOCK_STREAM, 0) or give_up(0, "socket: $!");
  if (!connect($connection, pack('S n C4 x8', $AF_INET, $port, 127, 0, 0, 1))) {
    my $problem = "$!";
    socket($connection, $AF_INET6, $SOCK_STREAM, 0) or give_up(0, $problem);
    connect($connection, pack('S n N x15 C N', $AF_INET6, $port, 0, 1, 0)) or give_up(0, $problem);
  }
  tell_us("started $$");
  my $ours = $streams{connection};
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

# By its number alone: a handle of perl is a dozen more system calls and pages when it is opened and closed. -1: $! says why.
sub open_number { my ($path, $flags) = @_; return syscall($numbers{openat}, $AT_FDCWD, $path, $flags | $O_CLOEXEC, 0); }
sub close_numbers { syscall($numbers{close}, $_) for @_; }
sub pipe_numbers {
  my $pair = pack('l2', -1, -1);
  give_up(0, "pipe: $!") if syscall($numbers{pipe2}, $pair, $O_CLOEXEC) != 0;
  return unpack('l2', $pair);
}

# What is left to do is written down first, as steps, and then taken: so a child that does it touches few pages. What a child
# touches is copied for it, 20 us a page, and plain words of perl are on many (8 ms where this takes 2; measured 2026-11).
# A step has ten members: the system call's number, its six arguments, the errors that it is forgiven, those of which one must
# have been forgiven before if it is to be taken at all, both as sets of bits, and what to say otherwise: a code and a text.
my $step_size = 10;
my $forgiven = 0;

sub step {
  my ($name, $arguments, $words, %more) = @_;
  return ($numbers{$name}, (@$arguments, (0) x 6)[0 .. 5], $more{forgives} // 0, $more{after} // 0, $words);
}

# Returns what went wrong, '' if nothing has.
sub take {
  for (my $at = 0; $at < @_; $at += $step_size) {
    next if $_[$at + 8] && !($_[$at + 8] & $forgiven);
    next if syscall($_[$at], @_[$at + 1 .. $at + 6]) != -1;
    return "$_[$at + 9]: $!" unless $_[$at + 7] >> $! & 1;
    $forgiven |= 1 << $!;
  }
  return '';
}

sub take_or_give_up { my $problem = take(@_); give_up(split(/ /, $problem, 2)) if $problem ne ''; }

# Whoever is in a session has its keys: what is run in a container gets one of its own, without those of the host's daemon.
# A kernel or host without keyrings has nothing to give away.
sub leaving_keyring { return step(keyctl => [1, 0], '0 keyctl', forgives => 1 << $ENOSYS | 1 << $EPERM); }

sub entering { my ($type, $number) = @_; return step(setns => [$number, 0], "0 setns $type"); }

# Of processes: what our children are in unless they join another. The host's handle.
my $own_processes;
my $last_cap = content('/proc/sys/kernel/cap_last_cap') + 0 || 63;
# A working directory like /proc/self/fd/7 must not lead to what we have open (CVE-2024-21626). The first three stay as well.
my $has_close_range = syscall($numbers{close_range}, 0x7fffffff, 0x7fffffff, 0) == 0;
sub closing_all_but {
  my %kept = map { $_ => 1 } @_;
  # Linux before 5.9. What we have open are few, with low numbers.
  return map { step(close => [$_], '0 close', forgives => 1 << $EBADF) } grep { !$kept{$_} } 3 .. 1023 unless $has_close_range;
  my ($from, @steps) = (3);
  for my $kept ((sort { $a <=> $b } @_), 0x80000000) {
    push @steps, step(close_range => [$from, $kept - 1, 0], '0 close_range') if $kept > $from;
    $from = $kept + 1;
  }
  return @steps;
}

# Confines us as the OCI runtime would. The filter comes as late as it can: without no_new_privs only who has CAP_SYS_ADMIN may
# set one. $name: the address of a place for the name of the working directory.
# Source: runtime-spec config.md (process), capabilities(7).
sub confining {
  my ($process, $lists, $filter, $name) = @_;
  my ($uid, $gid) = ($process->{uid} + 0, $process->{gid} + 0);
  my %caps = map { $_ => hex $process->{$_} } qw(bounding effective permitted inheritable ambient);
  my $program = pack('S x6 P', length($$filter) / 8, $$filter);
  my @filtering = $$filter eq '' ? () : step(prctl => [$PR_SET_SECCOMP, 2, $program], '0 seccomp');
  my @groups = map { $_ + 0 } @{$lists->{groups}};
  my $sets = pack('L6', map { my $shift = $_; map { $caps{$_} >> $shift & 0xffffffff } qw(effective permitted inheritable) } 0, 32);
  # By a kernel that does not know it, or a filter.
  my $unneeded = 1 << $EINVAL | 1 << $EPERM | 1 << $ENOSYS;
  my $there = "255 chdir to `$process->{cwd}`";
  return (
    (map {
      my ($resource, $soft, $hard) = map { $_ + 0 } split /:/;
      step(prlimit64 => [0, $resource, pack('Q Q', $soft, $hard), 0], "255 rlimit $_");
    } @{$lists->{rlimits}}),
    step(umask => [$process->{umask} + 0], ''),
    # As root too: a user may be started in a folder that it could not enter itself.
    step(chdir => [$process->{cwd}], $there, forgives => 1 << $EACCES),
    # Before the filter, which may forbid it: what is not dropped a program of the container could have.
    (map { step(prctl => [$PR_CAPBSET_DROP, $_], "0 bounding capability $_", forgives => 1 << $EINVAL) }
      grep { !($caps{bounding} >> $_ & 1) } 0 .. $last_cap),
    $process->{no_new_privs} ? () : @filtering,
    step(setgroups => [scalar @groups, pack('L*', @groups)], '0 setgroups'),
    step(prctl => [$PR_SET_KEEPCAPS, 1], '0 keepcaps', forgives => $unneeded),
    step(setresgid => [$gid, $gid, $gid], '0 setresgid'),
    step(setresuid => [$uid, $uid, $uid], '0 setresuid'),
    step(capset => [pack('L l', 0x20080522, 0), $sets], '0 capset'),
    step(prctl => [$PR_CAP_AMBIENT, 4], '0 ambient capabilities', forgives => $unneeded),
    (map { step(prctl => [$PR_CAP_AMBIENT, 2, $_], "0 ambient capability $_") } grep { $caps{ambient} >> $_ & 1 } 0 .. $last_cap),
    step(chdir => [$process->{cwd}], $there, after => 1 << $EACCES),
    step(getcwd => [$name, $path_max], $there),
    $process->{no_new_privs} ? (step(prctl => [$PR_SET_NO_NEW_PRIVS, 1], '0 no_new_privs'), @filtering) : (),
  );
}

# Becomes the program, or the next one of that name in PATH. The strings of both lists must stay as they are.
sub executing {
  my ($args, $env) = @_;
  my ($path) = map { /^PATH=(.*)$/s ? $1 : () } @$env;
  my @candidates = $args->[0] =~ m{/} ? ($args->[0]) : map { ($_ eq '' ? '.' : $_) . "/$args->[0]" } split /:/, $path // '', -1;
  my ($argv, $envp) = map { pack('p*', @$_, undef) } $args, $env;
  my $forgives = 1 << $ENOENT | 1 << $ENOTDIR | 1 << $EACCES;
  return map { step(execve => [$_, $argv, $envp], "255 exec `$_`", forgives => $forgives) } @candidates;
}

# join PID START_TICKS HAS_STDIN OOM_SCORE_ADJ, then what relay-join.ts says: what the OCI runtime's exec does, without its
# two programs to load (25 ms). The process is our child, in the namespaces and cgroups of process PID, confined as the
# arguments say before it becomes the program. True: we are as we were before.
sub run_join {
  my ($pid, $start_ticks, $has_stdin, $oom_score_adj, @rest) = @_;
  my %process = map { $_ => shift @rest } qw(uid gid umask bounding effective permitted inheritable ambient no_new_privs seccomp cwd);
  my %lists = map { my $count = shift @rest; ($_ => [splice @rest, 0, $count]) } qw(groups rlimits namespaces cgroups env args);
  my @namespaces = map {
    my $number = open_number("/proc/$pid/ns/$_", $O_RDONLY);
    give_up(0, "namespace $_ of process $pid: $!") if $number < 0;
    [$_, $number];
  } @{$lists{namespaces}};
  # Only now: if it is still the one, then what was opened was its own.
  give_up(0, 'the container has ended') unless start_ticks($pid) eq $start_ticks;
  my $filter = $process{seccomp} eq '' ? '' : content($process{seccomp});
  give_up(0, "no filter in $process{seccomp}") if $process{seccomp} ne '' && ($filter eq '' || length($filter) % 8);
  my @cgroups = map {
    my $number = open_number($_, $O_WRONLY);
    give_up(0, "open $_: $!") if $number < 0;
    $number;
  } @{$lists{cgroups}};
  my (@inside, @outside);
  for my $number (0, 1, 2) {
    # Pipes: what Node calls one is a socket, which a program cannot open again as /dev/stderr.
    my ($reader, $writer) = pipe_numbers();
    ($inside[$number], my $other) = $number == 0 ? ($reader, $writer) : ($writer, $reader);
    # The user may open it again by its name only if it is its own.
    syscall($numbers{fchown}, $inside[$number], $process{uid} + 0, $process{gid} + 0);
    if ($number != 0 || $has_stdin) { $outside[$number] = descriptor($other, $number == 0 ? '>&=' : '<&='); }
    # A pipe without a writer is at its end.
    else { close_numbers($other); }
  }
  my ($outcome_number, $teller) = pipe_numbers();
  my $outcome = descriptor($outcome_number, '<&=');
  my $cwd = "\0" x $path_max;
  my $default_action = "\0" x 32;
  my ($of_processes) = grep { $_->[0] eq 'pid' } @namespaces;
  my ($of_mounts) = grep { $_->[0] eq 'mnt' } @namespaces;
  my @steps = (
    # Perl ignores the second by itself.
    (map { step(rt_sigaction => [$_, $default_action, 0, 8], '0 sigaction') } $SIGPIPE, $SIGFPE),
    # Or the process could signal our own group from within the container, by kill 0.
    step(setsid => [], '0 setsid'),
    leaving_keyring(),
    (map { step(write => [$cgroups[$_], '0', 1], "0 $lists{cgroups}[$_]") } 0 .. $#cgroups),
    (map { step(dup3 => [$inside[$_], $_, 0], '0 dup') } 0, 1, 2),
    (map { entering(@$_) } grep { $_->[0] ne 'pid' && $_->[0] ne 'mnt' } @namespaces),
    # After it the files of the host are out of reach.
    defined $of_mounts ? entering(@$of_mounts) : (),
    closing_all_but($teller),
    confining(\%process, \%lists, \$filter, unpack('Q', pack('P', $cwd))),
  );
  my @programs = executing(@lists{qw(args env)});
  # Before the fork: what is written after it is copied.
  my ($input, $outputs) = flows_of($has_stdin, undef, @outside);
  @outside = ();
  my @used = (@inside, @cgroups, map { $_->[1] } @namespaces);
  my @going_back = entering(pid => fileno($own_processes));
  $forgiven = 0;
  my $own_score = content('/proc/self/oom_score_adj') + 0;
  # Ours meanwhile, and so the child's.
  change_oom_score($oom_score_adj) if $own_score != $oom_score_adj;
  # For our children only.
  take_or_give_up(entering(@$of_processes)) if defined $of_processes;
  my ($control_number, $awaited) = (fileno($control), '');
  vec($awaited, $_, 1) = 1 for $control_number, $outcome_number;
  my $child = fork();
  give_up(0, "fork: $!") unless defined $child;
  if ($child == 0) {
    # Its words are of what was asked for, or of what we do: 255 and 0, as of the OCI runtime.
    my $problem = take(@steps);
    # A folder that is outside of the root has no name there.
    $problem = "255 chdir to `$process{cwd}`: it is outside of the container" if $problem eq '' && substr($cwd, 0, 1) ne '/';
    if ($problem eq '') {
      $forgiven = 0;
      $problem = take(@programs);
    }
    if ($problem eq '') {
      # What is there and cannot be run is told of if nothing else is found.
      my $searched = $lists{args}[0] =~ m{/} ? '' : ' in $PATH';
      $problem = "255 executable file `$lists{args}[0]`" . ($forgiven & 1 << $EACCES ? ': Permission denied' : " not found$searched");
    }
    syscall($numbers{write}, $teller, $problem, length $problem);
    exit 0;
  }
  # As little as can be until it is on its way: a page that we write to meanwhile is copied as well, and both wait for each other.
  syscall($numbers{close}, $teller);
  my $said = '';
  for (;;) {
    next if select(my $ready = $awaited, undef, undef, undef) < 0;
    if (vec($ready, $outcome_number, 1)) {
      my $count = sysread($outcome, $said, 4096, length $said);
      last if defined $count && $count == 0;
    }
    elsif (!listen_to_us(sub {})) {
      kill('KILL', $child);
      exit 0;
    }
  }
  # The next one's children are to be in the namespace of that, or in ours.
  my $is_as_before = take(@going_back) eq '';
  if ($own_score != $oom_score_adj) {
    change_oom_score($own_score);
    $is_as_before &&= content('/proc/self/oom_score_adj') == $own_score;
  }
  close_numbers(@used);
  if ($said ne '') { waitpid($child, 0); give_up($said =~ s/^([0-9]+) //s ? $1 : 0, $said); }
  carry($child, undef, $input, $outputs);
  return $is_as_before;
}

sub change_oom_score { my ($score) = @_; if (open(my $file, '>', '/proc/self/oom_score_adj')) { syswrite($file, $score); } }

sub start_ticks {
  my ($pid) = @_;
  my $stat = content("/proc/$pid/stat");
  $stat =~ s/^.*\)\s//s;
  return (split / /, $stat)[19] // '';
}

# host DIR RUNTIME: forks the relays. Control is the daemon's: "relay ID\n" asks for one, which says "ready ID PID\n" there
# when it waits in DIR on a socket of that name, also when it does so once more; "kill ID\n" ends it; the end of control is that of
# us and of those that wait. Returns in a relay: its id, and what it can read from when we have gone.
# RUNTIME: the OCI runtime of the monitors if that is crun, else empty.
sub run_host {
  my ($dir, $runtime, $seal) = @_;
  chdir $dir or give_up(0, "chdir $dir: $!");
  umask 0077;
  # Processes of the container see us on our way into it: they may neither read nor trace us.
  syscall($numbers{prctl}, $PR_SET_DUMPABLE, 0, 0, 0, 0);
  open($own_processes, '<', '/proc/self/ns/pid') or give_up(0, "our namespace of processes: $!");
  keep_runtime($runtime);
  # Only we have its writing end: a relay that waits sees by it that we have gone.
  pipe(my $life, my $living) or give_up(0, "pipe: $!");
  # As something to read: a signal that came just before we wait would not wake us, and its process would stay a zombie.
  syscall($numbers{rt_sigprocmask}, $SIG_BLOCK, $children_signal, 0, 8) == 0 or give_up(0, "sigprocmask: $!");
  my $signals = syscall($numbers{signalfd4}, -1, $children_signal, 8, $SFD_NONBLOCK_CLOEXEC);
  give_up(0, "signalfd: $!") if $signals < 0;
  my $ends = descriptor($signals, '<&=');
  $0 = 'holdfast-relay host';
  tell_us("started $$ $seal");
  my %relays;
  for (;;) {
    my $wanted = '';
    vec($wanted, fileno($_), 1) = 1 for $control, $ends;
    my $count = select(my $ready = $wanted, undef, undef, undef);
    next if $count < 0;
    sysread($ends, my $unused, 4096) if vec($ready, fileno($ends), 1);
    while ((my $pid = waitpid(-1, $WNOHANG)) > 0) {
      for my $id (keys %relays) { delete $relays{$id} if $relays{$id} == $pid; }
    }
    next unless vec($ready, fileno($control), 1);
    $count = sysread($control, $told, 4096, length $told);
    next if !defined $count && ($! == $EINTR || $! == $EAGAIN);
    # Those that wait take their sockets away too, but nobody waits for them.
    if (!$count) { unlink keys %relays; exit 0; }
    while ($told =~ s/^(relay|kill) ([0-9a-f]+)\n//) {
      my ($what, $id) = ($1, $2);
      if ($what eq 'kill') {
        kill('KILL', $relays{$id}) if defined $relays{$id};
        unlink $id;
        next;
      }
      my $pid = fork();
      if (!defined $pid) { tell_us("failed 0 fork: $!"); next; }
      if ($pid != 0) { $relays{$id} = $pid; next; }
      syscall($numbers{rt_sigprocmask}, $SIG_UNBLOCK, $children_signal, 0, 8);
      $told = '';
      close($_) for $living, $ends;
      return ($id, $life);
    }
  }
}

# crun that could be written to makes itself a place where it cannot, and begins anew from there, each time: 4 ms, and a mount
# on the host. From a mount that can only be read it runs as it is. This one has no place in the tree of files. Not a sealed copy
# in memory: whoever runs that in a container can open it for writing, and nobody can run it then (ETXTBSY).
# Source: crun, libcrun/cloned_binary.c; open_tree(2), mount_setattr(2).
my ($runtime_path, $runtime_state, $runtime_handle) = ('', '');
my $runtime_place = 4;
my ($OPEN_TREE_CLONE_CLOEXEC, $AT_EMPTY_PATH, $MOUNT_ATTR_RDONLY) = (0x80001, 0x1000, 1);

sub state_of { my ($path) = @_; return join ' ', map { $_ // '' } (stat $path)[0, 1, 7, 9, 10]; }

# Without it, as on Linux before 5.12, crun runs from its file.
sub keep_runtime {
  my ($path) = @_;
  return if $path eq '';
  ($runtime_path, $runtime_state) = ($path, state_of($path));
  my $fd = syscall($numbers{open_tree}, $AT_FDCWD, $path, $OPEN_TREE_CLONE_CLOEXEC);
  return if $fd < 0;
  my ($itself, $attributes) = ('', pack('Q4', $MOUNT_ATTR_RDONLY, 0, 0, 0));
  my $is_set = syscall($numbers{mount_setattr}, $fd, $itself, $AT_EMPTY_PATH, $attributes, length $attributes) == 0;
  $runtime_handle = undef unless $is_set && sysopen($runtime_handle, "/proc/self/fd/$fd", $O_PATH);
  # With what made it open the mount is in a namespace of its own, and a container that runs it could change how it is mounted if
  # it may mount at all. By a path alone it is in none, and nobody can.
  syscall($numbers{close}, $fd);
}

# monitor DIR LOG UMASK COUNT ENV... COMMAND...: becomes a monitor, which has control as fd 3 for its own words and as fd 5 for
# ours, LOG for its errors and nothing else of ours. A daemon that has gone meanwhile would look for it in vain: then nothing is begun.
sub run_monitor {
  my ($dir, $log, $umask, $count, @rest) = @_;
  my @env = splice @rest, 0, $count;
  $awaits_word = 1;
  chdir $dir or give_up($! + 0, "chdir $dir: $!");
  open(STDERR, '>', $log) or give_up($! + 0, "open $log: $!");
  # Perl ignores the second by itself.
  $SIG{$_} = 'DEFAULT' for 'PIPE', 'FPE';
  umask($umask + 0);
  %ENV = map { split /=/, $_, 2 } @env;
  syscall($numbers{setsid});
  # Its word for the monitor may have come already, before its end. Nothing at all cannot be sent to who has gone.
  exit 0 unless defined send($control, '', $MSG_NOSIGNAL);
  syscall($numbers{dup3}, fileno($control), $control_place, 0) < 0 and give_up($! + 0, "dup: $!");
  $control = $host_control; # which has that number
  my @kept = ($control_place);
  # Unless there is another version of it by now.
  if (defined $runtime_handle && state_of($runtime_path) eq $runtime_state
    && syscall($numbers{dup3}, fileno($runtime_handle), $runtime_place, 0) >= 0) {
    push @kept, $runtime_place;
    $_ = "/proc/self/fd/$runtime_place" for grep { $_ eq $runtime_path } @rest;
  }
  # Another number, since the monitor closes it once it has heard us. Last: the mount may have had it.
  syscall($numbers{dup3}, $control_place, $word_place, 0) < 0 and give_up($! + 0, "dup: $!");
  push @kept, $word_place;
  # Also what we were given by whoever started the daemon.
  take_or_give_up(closing_all_but(@kept));
  exec { $rest[0] } @rest or give_up($! + 0, "exec $rest[0]: $!");
}

# What we share with the host is copied page by page as we write to it, and a fault takes 20 us: all of it at once, while nobody
# waits for us, is 2 ms. Linux 5.14.
sub own_memory {
  for my $line (split /\n/, content('/proc/self/maps')) {
    my ($from, $to) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) rw-p .*\[heap\]$/ or next;
    syscall($numbers{madvise}, hex $from, hex($to) - hex($from), 23);
  }
}

# Waits for the connections of a session, one for each stream that it has. The first line says which: ROLE, and for
# control "control ROLES MODE ARGS...", the arguments percent-encoded, ROLES joined by commas. Returns mode and arguments.
my %is_role = map { $_ => 1 } qw(stdin stdout stderr control connection);
# Arguments and environment of a program have at most some 6 MB (execve(2)), thrice that when encoded.
my $max_line = 20_000_000;
# Of the arguments of a session: memory that perl has once it keeps.
my $max_kept_bytes = 65_536;

sub wait_for_session {
  my ($id, $life) = @_;
  # That of the last session ends with this.
  my $is_first = $control == $host_control;
  ($control, $told, %streams) = ($host_control, '');
  # Nobody counts on one that comes back: what it would say is of those that are being forked.
  my $fail = sub { give_up(0, "$_[0]: $!") if $is_first; exit 0; };
  socket(my $listener, $AF_UNIX, $SOCK_STREAM, 0) or $fail->('socket');
  bind($listener, pack('S a*', $AF_UNIX, "$id\0")) or $fail->('bind');
  listen($listener, 8) or $fail->('listen');
  unblock($listener);
  tell_us("ready $id $$");
  own_memory();
  $0 = 'holdfast-relay wait';
  my (@news, %session, @roles, @args);
  while (!@roles || grep { !defined $session{$_} } @roles) {
    my $read = '';
    vec($read, fileno($_), 1) = 1 for $life, $listener, map({ $_->[0] } @news), $session{control} // ();
    my $count = select(my $ready = $read, undef, undef, undef);
    next if $count < 0;
    if (vec($ready, fileno($life), 1)) { unlink $id; exit 0; }
    if (vec($ready, fileno($listener), 1)) {
      while (accept(my $connection, $listener)) { unblock($connection); push @news, [$connection, '']; }
    }
    # A client that went away before all of it had come.
    if (defined $session{control} && vec($ready, fileno($session{control}), 1)) {
      recv($session{control}, my $byte, 1, $MSG_PEEK);
      if (($byte // '') eq '') { unlink $id; exit 0; }
    }
    for my $new (splice @news) {
      my $line = first_line($new->[0], \$new->[1]);
      if (!defined $line) { push @news, $new; next; }
      my ($role, $roles, @rest) = split / /, $line, -1;
      # It went away before it had said what it is: the session has lost a part, and nobody else will ask for it.
      if (!defined $role || !$is_role{$role}) { unlink $id; exit 0; }
      $session{$role} = $new->[0];
      if ($role eq 'control') { @roles = split /,/, $roles; @args = map { s/%([0-9A-F]{2})/chr hex $1/ger } @rest; }
    }
  }
  unlink $id;
  $control = delete $session{control};
  fcntl($control, $F_SETFL, fcntl($control, $F_GETFL, 0) & ~$O_NONBLOCK);
  %streams = %session;
  return @args;
}

# The first line, once all of it has come; what comes after it stays, being for the session. '' if there is none.
sub first_line {
  my ($connection, $begun) = @_;
  my $text = '';
  if (!defined recv($connection, $text, 65536, $MSG_PEEK)) { return $! == $EAGAIN || $! == $EINTR ? undef : ''; }
  my $end = index($text, "\n");
  sysread($connection, my $part, $end < 0 ? length $text : $end + 1);
  $$begun .= $part;
  return $$begun =~ s/\n\z//r if $end >= 0;
  return length($text) == 0 || length($$begun) > $max_line ? '' : undef;
}

# What is open in a process can be reached through /proc/PID/exe by those beside it: once a container had written to the
# host's program that entered it (CVE-2019-5736). So ours is a copy in memory that nobody can change. Says how it went.
sub seal {
  my ($dir, $runtime) = @_;
  my $fd = syscall($numbers{memfd_create}, my $name = 'perl', 0x13);
  # MFD_EXEC is of Linux 6.3.
  $fd = syscall($numbers{memfd_create}, $name, 3) if $fd < 0;
  return "memfd_create: $!" if $fd < 0;
  my $copy = descriptor($fd, '+<&=');
  open(my $program, '<', $^X) or return "$^X: $!";
  while (sysread($program, my $part, 1 << 20)) { syswrite($copy, $part) == length $part or return "copy: $!"; }
  # F_ADD_SEALS: no further seals, no shrinking, growing or writing.
  fcntl($copy, 1033, 0xf) or return "seal: $!";
  fcntl($host_control, $F_SETFD, 0);
  exec { "/proc/self/fd/$fd" } 'perl', $0, 'host', $dir, $runtime, 'sealed';
  my $problem = "exec: $!";
  fcntl($host_control, $F_SETFD, $FD_CLOEXEC);
  return $problem;
}

my %modes = (exec => \&run_exec, join => \&run_join, attach => \&run_attach, dial => \&run_dial, monitor => \&run_monitor);
my (undef, $dir, $runtime, $seal) = @ARGV;
my ($id, $life) = run_host($dir, $runtime, $seal // seal($dir, $runtime));
for (;;) {
  my ($mode, @args) = wait_for_session($id, $life);
  # What ps shows; the command that is run is nobody's business.
  $0 = "holdfast-relay $mode";
  my $is_as_before = ($modes{$mode} // sub { give_up(0, "no mode $mode"); })->(@args);
  # Another one would cost whoever comes next 3 ms of a processor. Only a join leaves nothing behind but words in our memory, for
  # which relay-host.ts lets nobody have us but who had us before.
  exit 0 unless $mode eq 'join' && $is_as_before && length(join '', @args) < $max_kept_bytes;
}
