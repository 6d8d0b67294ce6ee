# System calls for the runtime, which Node cannot make: mounts, network namespaces, signals by pidfd.
# Started by syscalls.ts with a pipe as stdin; ends with it. One request a line, fields separated by tabs and
# percent-encoded: ID OPERATION ARGUMENT... One answer a line: ID ok RESULT, or ID errno TEXT. Needs perl-base only.
use strict;
use warnings;
use Config;

my %numbers = $Config{archname} =~ /^aarch64/
  ? (mount => 40, umount2 => 39, unshare => 97, setns => 268, pidfd_open => 434, pidfd_send_signal => 424,
     close => 57, mkdirat => 34, fchownat => 54, openat2 => 437, open_tree => 428, move_mount => 429, mount_setattr => 442)
  : (mount => 165, umount2 => 166, unshare => 272, setns => 308, pidfd_open => 434, pidfd_send_signal => 424,
     close => 3, mkdirat => 258, fchownat => 260, openat2 => 437, open_tree => 428, move_mount => 429, mount_setattr => 442);

my $CLONE_NEWNS = 0x00020000;
my $CLONE_NEWUSER = 0x10000000;
my $CLONE_NEWNET = 0x40000000;
my $OPEN_TREE_CLONE = 1 | 02000000; # close-on-exec too
my $AT_EMPTY_PATH = 0x1000;
my $MOVE_MOUNT_F_EMPTY_PATH = 4;
my $MOVE_MOUNT_T_EMPTY_PATH = 0x40;
my $AT_RECURSIVE = 0x8000;
my $MOUNT_ATTR_RDONLY = 1;
my $MOUNT_ATTR_IDMAP = 0x00100000;
my $MS_BIND = 4096;
my $MNT_DETACH = 2;
my $MS_REC = 16384;
my $MS_PRIVATE = 1 << 18;
my $ENOENT = 2;
my $ESRCH = 3;
my $EAGAIN = 11;
my $EEXIST = 17;
my $ENOTDIR = 20;
my $AT_FDCWD = -100;
my $O_PATH_CLOEXEC = 012000000;
my $O_NOFOLLOW = $Config{archname} =~ /^aarch64/ ? 0100000 : 0400000;
my $RESOLVE_NO_MAGICLINKS = 2;
my $RESOLVE_NO_SYMLINKS = 4;
my $RESOLVE_BENEATH = 8;

sub call {
  my ($name, @args) = @_;
  my $result = syscall($numbers{$name}, @args);
  die { errno => $! + 0, text => "$name: $!" } if $result == -1;
  return $result;
}

sub mount_at {
  my ($source, $target, $type, $flags, $data) = @_;
  call('mount', $source, $target, $type, $flags + 0, $data);
}

# An overlay's options may not exceed a page, so its lower directories are named relative to a folder.
sub op_mount {
  my ($dir, @args) = @_;
  chdir $dir or die { errno => $! + 0, text => "chdir $dir: $!" };
  my $ok = eval { mount_at(@args); 1 };
  my $problem = $@;
  chdir '/';
  die $problem unless $ok;
}

sub op_umount { my ($target, $flags) = @_; call('umount2', $target, $flags + 0); }

# Opens a path as the kernel resolves it, without ever leaving the folder (RESOLVE_BENEATH), also while others rename in it.
sub open_at {
  my ($folder, $path, $resolve, $flags) = @_;
  my $how = pack('QQQ', $O_PATH_CLOEXEC | ($flags // 0), 0, $resolve);
  for (1 .. 32) {
    my $fd = syscall($numbers{openat2}, $folder + 0, $path, $how, 24);
    return $fd if $fd != -1;
    die { errno => $! + 0, text => "open $path: $!" } unless $! + 0 == $EAGAIN;
  }
  die { errno => $EAGAIN, text => "open $path: it is being changed all the time" };
}

# Binds a path inside a folder to a new file or folder at the target; missing parts of the path become folders.
sub op_bind_beneath {
  my ($folder, $path, $target) = @_;
  my @fds = (open_at($AT_FDCWD, $folder, 0));
  my $ok = eval {
    my $so_far = '';
    for my $part (grep { $_ ne '' && $_ ne '.' } split m{/}, $path) {
      my $above = $fds[-1];
      $so_far = $so_far eq '' ? $part : "$so_far/$part";
      my $fd = eval { open_at($fds[0], $so_far, $RESOLVE_BENEATH | $RESOLVE_NO_MAGICLINKS) };
      if (!defined $fd) {
        die $@ unless ref $@ eq 'HASH' && $@->{errno} == $ENOENT;
        my $made = syscall($numbers{mkdirat}, $above + 0, $part, 0755);
        die { errno => $! + 0, text => "mkdir $so_far: $!" } if $made == -1 && $! + 0 != $EEXIST;
        $fd = open_at($fds[0], $so_far, $RESOLVE_BENEATH | $RESOLVE_NO_MAGICLINKS);
      }
      push @fds, $fd;
    }
    my $source = "/proc/self/fd/$fds[-1]";
    if (-d $source) { mkdir $target, 0755 or die { errno => $! + 0, text => "mkdir $target: $!" }; }
    else { open(my $file, '>', $target) or die { errno => $! + 0, text => "open $target: $!" }; close $file; }
    mount_at($source, $target, '', $MS_BIND | $MS_REC, '');
    # Taking it down again must not take down anything at its source.
    mount_at('', $target, '', $MS_PRIVATE | $MS_REC, '');
    1;
  };
  my $problem = $@;
  syscall($numbers{close}, $_ + 0) for @fds;
  die $problem unless $ok;
}

# Makes a path of folders inside a folder, those that are missing with the given owner. No part may be a link: whoever
# asks has followed them, so a link is one that was put there since.
sub op_mkdir_beneath {
  my ($folder, $path, $owner) = @_;
  my @fds = (open_at($AT_FDCWD, $folder, 0));
  my $ok = eval {
    my $resolve = $RESOLVE_BENEATH | $RESOLVE_NO_SYMLINKS;
    for my $part (grep { $_ ne '' } split m{/}, $path) {
      my $above = $fds[-1];
      my $fd = eval { open_at($above, $part, $resolve) };
      if (!defined $fd) {
        die $@ unless ref $@ eq 'HASH' && $@->{errno} == $ENOENT;
        my $made = syscall($numbers{mkdirat}, $above + 0, $part, 0755);
        die { errno => $! + 0, text => "mkdir $part: $!" } if $made == -1 && $! + 0 != $EEXIST;
        $fd = open_at($above, $part, $resolve);
        if ($made != -1) {
          my $empty = '';
          call('fchownat', $fd, $empty, $owner + 0, $owner + 0, $AT_EMPTY_PATH);
        }
      }
      push @fds, $fd;
    }
    die { errno => $ENOTDIR, text => "$path is no folder" } unless -d "/proc/self/fd/$fds[-1]";
    1;
  };
  my $problem = $@;
  syscall($numbers{close}, $_ + 0) for @fds;
  die $problem unless $ok;
}

# Does the work in a child, and what is for us to do while the child waits. A child's namespaces are its own.
sub in_child {
  my ($work, $meanwhile) = @_;
  pipe(my $answers, my $answer) or die { errno => $! + 0, text => "pipe: $!" };
  pipe(my $hold, my $release) or die { errno => $! + 0, text => "pipe: $!" };
  my $pid = fork();
  die { errno => $! + 0, text => "fork: $!" } unless defined $pid;
  if ($pid == 0) {
    close $answers;
    close $release;
    my $said = 'done';
    if (!eval { $work->(); 1 }) { $said = ref $@ eq 'HASH' ? "$@->{errno} $@->{text}" : "5 $@"; }
    syswrite($answer, $said);
    close $answer;
    sysread($hold, my $unused, 1);
    # Without what perl would flush or tidy up twice.
    kill 'KILL', $$;
  }
  close $answer;
  close $hold;
  my $said = '';
  while (sysread($answers, $said, 4096, length $said)) {}
  my $ok = eval { $meanwhile->($pid) if $said eq 'done' && defined $meanwhile; 1 };
  my $problem = $@;
  close $release;
  waitpid($pid, 0);
  die { errno => $1 + 0, text => $2 } if $said =~ /^([0-9]+) (.*)$/s;
  die { errno => 5, text => 'the helper of the helper was killed' } unless $said eq 'done';
  die $problem unless $ok;
}

sub make_file {
  my ($path) = @_;
  open(my $file, '>', $path) or die { errno => $! + 0, text => "open $path: $!" };
  close $file;
}

# Makes a user namespace in which 0 and those above are the host's ids from first on, and keeps it by a bind mount.
sub op_userns {
  my ($path, $first, $size) = @_;
  make_file($path);
  in_child(sub { call('unshare', $CLONE_NEWUSER); }, sub {
    my ($pid) = @_;
    for my $map ('uid_map', 'gid_map') {
      open(my $file, '>', "/proc/$pid/$map") or die { errno => $! + 0, text => "open $map: $!" };
      defined syswrite($file, "0 $first $size\n") or die { errno => $! + 0, text => "write $map: $!" };
    }
    mount_at("/proc/$pid/ns/user", $path, '', $MS_BIND, '');
  });
}

# A network namespace as op_netns makes it, that belongs to a user namespace.
sub op_netns_of {
  my ($path, $userns) = @_;
  make_file($path);
  in_child(sub {
    open(my $user, '<', $userns) or die { errno => $! + 0, text => "open $userns: $!" };
    call('setns', fileno($user), $CLONE_NEWUSER);
    call('unshare', $CLONE_NEWNET);
    bring_up_loopback();
  }, sub { mount_at("/proc/$_[0]/ns/net", $path, '', $MS_BIND, ''); });
}

# An overlay whose lower layers are seen with the ids of a user namespace. The mounts that this takes are made in a mount
# namespace of the child's and go with it; only the overlay is moved to where we are.
sub op_mapped_overlay {
  my ($userns, $scratch, $target, $options, @layers) = @_;
  in_child(sub {
    open(my $home, '<', '/proc/self/ns/mnt') or die { errno => $! + 0, text => "open own mount namespace: $!" };
    open(my $user, '<', $userns) or die { errno => $! + 0, text => "open $userns: $!" };
    call('unshare', $CLONE_NEWNS);
    mount_at('', '/', '', $MS_PRIVATE | $MS_REC, '');
    mount_at('tmpfs', $scratch, 'tmpfs', 0, '');
    chdir $scratch or die { errno => $! + 0, text => "chdir $scratch: $!" };
    for my $number (0 .. $#layers) {
      mkdir $number or die { errno => $! + 0, text => "mkdir: $!" };
      my ($empty, $attributes) = ('', pack('QQQQ', $MOUNT_ATTR_IDMAP, 0, 0, fileno($user)));
      my $tree = call('open_tree', $AT_FDCWD, $layers[$number], $OPEN_TREE_CLONE);
      call('mount_setattr', $tree, $empty, $AT_EMPTY_PATH, $attributes, length $attributes);
      my $place = "$scratch/$number";
      call('move_mount', $tree, $empty, $AT_FDCWD, $place, $MOVE_MOUNT_F_EMPTY_PATH);
    }
    mkdir 'whole' or die { errno => $! + 0, text => "mkdir: $!" };
    mount_at('overlay', "$scratch/whole", 'overlay', 0, 'lowerdir=' . join(':', 0 .. $#layers) . ",$options");
    my ($whole, $empty) = ("$scratch/whole", '');
    my $tree = call('open_tree', $AT_FDCWD, $whole, $OPEN_TREE_CLONE);
    call('setns', fileno($home), $CLONE_NEWNS);
    call('move_mount', $tree, $empty, $AT_FDCWD, $target, $MOVE_MOUNT_F_EMPTY_PATH);
  });
}

sub bring_up_loopback {
  socket(my $socket, 2, 2, 0) or die { errno => $! + 0, text => "socket: $!" };
  my $request = pack('a16 s x22', 'lo', 0x1 | 0x40);
  ioctl($socket, 0x8914, $request) or die { errno => $! + 0, text => "lo up: $!" };
}

# Makes a network namespace with loopback up and keeps it by a bind mount at the path.
sub op_netns {
  my ($path) = @_;
  open(my $file, '>', $path) or die { errno => $! + 0, text => "open $path: $!" };
  close $file;
  open(my $home, '<', '/proc/self/ns/net') or die { errno => $! + 0, text => "open own netns: $!" };
  call('unshare', $CLONE_NEWNET);
  my $ok = eval {
    bring_up_loopback();
    mount_at('/proc/self/ns/net', $path, '', $MS_BIND, '');
    1;
  };
  my $problem = $@;
  # Staying in a strange namespace would break every later request: end, and be started anew.
  exit 1 if syscall($numbers{setns}, fileno($home), $CLONE_NEWNET) == -1;
  die $problem unless $ok;
}

# Sends a signal to a process only if it is still the one that started at the given tick.
sub op_kill {
  my ($pid, $start_ticks, $signal) = @_;
  my $fd = call('pidfd_open', $pid + 0, 0);
  my $ok = eval {
    my $stat = '';
    if (open(my $file, '<', "/proc/$pid/stat")) { local $/; $stat = <$file> // ''; close $file; }
    $stat =~ s/^.*\)\s//s;
    my @fields = split / /, $stat;
    die { errno => $ESRCH, text => 'another process has this pid' } unless ($fields[19] // '') eq $start_ticks;
    call('pidfd_send_signal', $fd, $signal + 0, 0, 0);
    1;
  };
  my $problem = $@;
  if (open(my $handle, '<&=', $fd)) { close $handle; }
  die $problem unless $ok;
}

# Whether the process is still the one that started at the given tick; dies if it is not.
sub expect_process {
  my ($pid, $start_ticks) = @_;
  my $stat = '';
  if (open(my $file, '<', "/proc/$pid/stat")) { local $/; $stat = <$file> // ''; close $file; }
  $stat =~ s/^.*\)\s//s;
  my @fields = split / /, $stat;
  die { errno => $ESRCH, text => 'another process has this pid' } unless ($fields[19] // '') eq $start_ticks;
}

sub open_namespace {
  my ($pid, $start_ticks, $name) = @_;
  open(my $file, '<', "/proc/$pid/ns/$name") or die { errno => $! + 0, text => "open $name namespace: $!" };
  expect_process($pid, $start_ticks);
  return $file;
}

# Binds what a process has mounted at a path of its own to a folder of ours. A mount point's path has no links: one that
# is in it now was put there since, and leads to something else.
sub op_mount_out_of {
  my ($pid, $start_ticks, $source, $target) = @_;
  in_child(sub {
    my $theirs = open_namespace($pid, $start_ticks, 'mnt');
    open(my $home, '<', '/proc/self/ns/mnt') or die { errno => $! + 0, text => "open own mount namespace: $!" };
    # Before we leave: its path counts from our root.
    my $place = open_at($AT_FDCWD, $target, 0);
    my $empty = '';
    call('setns', fileno($theirs), $CLONE_NEWNS);
    my $there = open_at($AT_FDCWD, $source, $RESOLVE_NO_SYMLINKS);
    my $tree = call('open_tree', $there, $empty, $OPEN_TREE_CLONE | $AT_EMPTY_PATH);
    call('setns', fileno($home), $CLONE_NEWNS);
    call('move_mount', $tree, $empty, $place, $empty, $MOVE_MOUNT_F_EMPTY_PATH | $MOVE_MOUNT_T_EMPTY_PATH);
  });
}

# Binds a path of ours to one that a process sees. Its links are followed as the process follows them.
sub op_mount_into {
  my ($pid, $start_ticks, $source, $target, $is_read_only, $is_mapped) = @_;
  in_child(sub {
    my $theirs = open_namespace($pid, $start_ticks, 'mnt');
    my $user = $is_mapped ? open_namespace($pid, $start_ticks, 'user') : undef;
    # Before we leave: in the process's own /proc we are not to be found.
    opendir(my $descriptors, '/proc/self/fd') or die { errno => $! + 0, text => "open /proc/self/fd: $!" };
    my $empty = '';
    my $tree = call('open_tree', $AT_FDCWD, $source, $OPEN_TREE_CLONE | $AT_RECURSIVE);
    my $set = ($is_read_only ? $MOUNT_ATTR_RDONLY : 0) | ($is_mapped ? $MOUNT_ATTR_IDMAP : 0);
    my $attributes = pack('QQQQ', $set, 0, $MS_PRIVATE, defined $user ? fileno($user) : 0);
    call('mount_setattr', $tree, $empty, $AT_EMPTY_PATH | $AT_RECURSIVE, $attributes, length $attributes);
    call('setns', fileno($theirs), $CLONE_NEWNS);
    my $moved = syscall($numbers{move_mount}, $tree, $empty, $AT_FDCWD, $target, $MOVE_MOUNT_F_EMPTY_PATH);
    if ($moved == -1 && $! + 0 == $ENOENT) {
      detach_deleted($target, $descriptors);
      $moved = syscall($numbers{move_mount}, $tree, $empty, $AT_FDCWD, $target, $MOVE_MOUNT_F_EMPTY_PATH);
    }
    die { errno => $! + 0, text => "move_mount to $target: $!" } if $moved == -1;
  });
}

# What is mounted there was deleted, and nothing can be mounted on that: it goes. Nothing else does, wherever the path
# leads by now: a container must not get rid of what hides parts of /proc from it.
sub detach_deleted {
  my ($target, $descriptors) = @_;
  my $fd = open_at($AT_FDCWD, $target, $RESOLVE_NO_MAGICLINKS, $O_NOFOLLOW);
  open(my $there, '<&=', $fd) or die { errno => $! + 0, text => "open $target: $!" };
  my $links = (stat $there)[3];
  die { errno => $ENOENT, text => "move_mount to $target: it is not there" } unless defined $links && $links == 0;
  chdir $descriptors or die { errno => $! + 0, text => "chdir to /proc/self/fd: $!" };
  my $name = "$fd";
  call('umount2', $name, $MNT_DETACH);
}

# nftables by netlink: numbers of linux/netfilter/nf_tables.h and linux/netlink.h.
my ($NFNL_SUBSYS_NFTABLES, $NLM_F_REQUEST, $NLM_F_DUMP, $NLM_F_DUMP_INTR, $NLMSG_ERROR, $NLMSG_DONE) = (10, 1, 0x300, 0x10, 2, 3);
my ($GETCHAIN, $GETRULE, $GETSET, $GETSETELEM, $GETGEN) = (4, 7, 10, 13, 16);
my $CHAIN_COUNTERS = 8;

sub attribute { my ($type, $text) = @_; return pack('S S a*', 4 + length $text, $type, $text) . "\0" x (-length($text) & 3); }

sub attributes {
  my ($text) = @_;
  my %found;
  while (length $text >= 4) {
    my ($size, $type) = unpack('S S', $text);
    last if $size < 4;
    $found{$type & 0x3fff} = substr($text, 4, $size - 4);
    $text = substr($text, ($size + 3) & ~3) // '';
  }
  return \%found;
}

# What a rule does, but for the values of its counters.
sub expressions {
  my ($text) = @_;
  my $all = '';
  while (length $text >= 4) {
    my ($size) = unpack('S', $text);
    last if $size < 4;
    my $one = attributes(substr($text, 4, $size - 4));
    my $name = unpack('Z*', $one->{1} // '');
    $all .= "$name " . ($name eq 'counter' ? '' : $one->{2} // '') . "\n";
    $text = substr($text, ($size + 3) & ~3) // '';
  }
  return $all;
}

# Calls back with family and attributes of each message of the answer. False if it failed or something changed meanwhile;
# what is not there is an answer without any.
sub ask_nftables {
  my ($socket, $what, $flags, $family, $attributes, $each) = @_;
  my $type = ($NFNL_SUBSYS_NFTABLES << 8) | $what;
  my $body = pack('C C n', $family, 0, 0) . $attributes;
  defined send($socket, pack('L S S L L', 16 + length $body, $type, $NLM_F_REQUEST | $flags, 1, 0) . $body, 0) or return 0;
  for (;;) {
    defined recv($socket, my $answer, 1 << 17, 0) or return 0;
    while ($answer ne '') {
      my ($length, $told, $told_flags) = unpack('L S S', $answer);
      return 0 if !defined $told_flags || $length < 16 || $length > length $answer || $told_flags & $NLM_F_DUMP_INTR;
      return 1 if $told == $NLMSG_DONE;
      if ($told == $NLMSG_ERROR) { return unpack('l', substr($answer, 16, 4)) == -$ENOENT; }
      $each->(ord substr($answer, 16, 1), attributes(substr($answer, 20, $length - 20)));
      return 1 if $flags == 0;
      $answer = substr($answer, ($length + 3) & ~3) // '';
    }
  }
}

# What concerns TABLE and what iptables has in its tables "filter": all chains but those of other instances, rules, and the
# elements of its maps. undef: not known.
sub nftables_state {
  my ($socket, $table) = @_;
  my (@state, @sets);
  my $note = sub { my ($kind, $family, $found, @keys) = @_; push @state, join ' ', $kind, $family, map { "$_=" . unpack('H*', $found->{$_} // '') } @keys; };
  ask_nftables($socket, $GETCHAIN, $NLM_F_DUMP, 0, '', sub {
    my ($family, $found) = @_;
    my $of = unpack('Z*', $found->{1} // '');
    $note->('chain', $family, $found, grep { $_ != $CHAIN_COUNTERS } sort keys %$found) if $of eq $table || $of !~ /^holdfast_/;
  }) or return undef;
  for my $of ($table, 'filter') {
    ask_nftables($socket, $GETRULE, $NLM_F_DUMP, 0, attribute(1, "$of\0"), sub {
      my ($family, $found) = @_;
      $found->{4} = expressions($found->{4} // '');
      $note->('rule', $family, $found, 1, 2, 3, 4);
    }) or return undef;
  }
  for my $family (1, 2, 7, 10) {
    ask_nftables($socket, $GETSET, $NLM_F_DUMP, $family, attribute(1, "$table\0"), sub { push @sets, [$family, $_[1]{2}]; }) or return undef;
  }
  for my $set (@sets) {
    my ($family, $name) = @$set;
    ask_nftables($socket, $GETSETELEM, $NLM_F_DUMP, $family, attribute(1, "$table\0") . attribute(2, $name), sub { $note->('elements', @_, 2, 3); }) or return undef;
  }
  return join "\n", @state;
}

# A word that changes with every change of nftables in this network namespace that may concern TABLE; empty: not known.
my (%seen_nftables, $nftables_changes);
sub op_nft_generation {
  my ($table) = @_;
  socket(my $socket, 16, 3, 12) or return '';
  setsockopt($socket, 1, 20, pack('l!l!', 1, 0));
  my $generation = '';
  ask_nftables($socket, $GETGEN, 0, 0, '', sub { $generation = unpack('N', $_[1]{1} // '') // ''; }) or return '';
  return '' if $generation eq '';
  my $seen = $seen_nftables{$table} //= { generation => '', state => '', word => '' };
  return $seen->{word} if $generation eq $seen->{generation};
  # As of before we look: what changes meanwhile is looked at the next time.
  my $state = nftables_state($socket, $table);
  return '' unless defined $state;
  $seen->{word} = "$$." . ++$nftables_changes if $seen->{word} eq '' || $state ne $seen->{state};
  @$seen{'generation', 'state'} = ($generation, $state);
  return $seen->{word};
}

# The text of a regular file below a folder that counts as /, in hexadecimal; nothing if there is none or it is too big.
# The kernel resolves the links, so that a process which swaps them meanwhile leads nobody out.
sub op_read {
  my ($root, $path, $limit) = @_;
  my ($O_RDONLY, $O_NONBLOCK, $O_CLOEXEC, $RESOLVE_NO_MAGICLINKS, $RESOLVE_IN_ROOT) = (0, 04000, 02000000, 2, 16);
  opendir(my $dir, $root) or die { errno => $! + 0, text => "open $root: $!" };
  my $how = pack('Q3', $O_RDONLY | $O_NONBLOCK | $O_CLOEXEC, 0, $RESOLVE_IN_ROOT | $RESOLVE_NO_MAGICLINKS);
  my $fd = syscall($numbers{openat2}, fileno($dir), $path, $how, length $how);
  return '' if $fd == -1 && grep { $! == $_ } 2, 6, 20, 40; # ENOENT, ENXIO, ENOTDIR, ELOOP
  die { errno => $! + 0, text => "open $path: $!" } if $fd == -1;
  open(my $file, '<&=', $fd) or die { errno => $! + 0, text => "open $path: $!" };
  return '' unless -f $file && -s _ <= $limit;
  my $text = '';
  while (length $text < $limit && sysread($file, $text, 65536, length $text)) {}
  return unpack('H*', $text);
}

my %operations = (read => \&op_read, mount => \&op_mount, umount => \&op_umount, bind_beneath => \&op_bind_beneath, mkdir_beneath => \&op_mkdir_beneath, netns => \&op_netns, userns => \&op_userns,
  mount_out_of => \&op_mount_out_of, mount_into => \&op_mount_into, nft_generation => \&op_nft_generation,
  netns_of => \&op_netns_of, mapped_overlay => \&op_mapped_overlay, kill => \&op_kill);

$| = 1;
$0 = 'holdfast-syscalls';
while (my $line = <STDIN>) {
  chomp $line;
  my ($id, $name, @args) = map { s/%([0-9A-Fa-f]{2})/chr(hex($1))/ger } split /\t/, $line, -1;
  my $result = eval { [scalar(($operations{$name} // die { errno => 38, text => "no operation $name" })->(@args))] };
  if (defined $result) { print "$id\tok\t", $name eq 'read' || $name eq 'nft_generation' ? $result->[0] : '', "\n"; next; }
  my ($errno, $text) = ref $@ eq 'HASH' ? ($@->{errno}, $@->{text}) : (5, "$@");
  $text =~ s/[\t\n]+/ /g;
  print "$id\t$errno\t$text\n";
}
