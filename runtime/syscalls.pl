# System calls for the runtime, which Node cannot make: mounts, network namespaces, signals by pidfd.
# Started by syscalls.ts with a pipe as stdin; ends with it. One request a line, fields separated by tabs and
# percent-encoded: ID OPERATION ARGUMENT... One answer a line: ID ok RESULT, or ID errno TEXT. Needs perl-base only.
use strict;
use warnings;
use Config;

my %numbers = $Config{archname} =~ /^aarch64/
  ? (mount => 40, umount2 => 39, unshare => 97, setns => 268, pidfd_open => 434, pidfd_send_signal => 424,
     close => 57, mkdirat => 34, openat2 => 437)
  : (mount => 165, umount2 => 166, unshare => 272, setns => 308, pidfd_open => 434, pidfd_send_signal => 424,
     close => 3, mkdirat => 258, openat2 => 437);

my $CLONE_NEWNET = 0x40000000;
my $MS_BIND = 4096;
my $MS_REC = 16384;
my $MS_PRIVATE = 1 << 18;
my $ENOENT = 2;
my $ESRCH = 3;
my $EAGAIN = 11;
my $EEXIST = 17;
my $AT_FDCWD = -100;
my $O_PATH_CLOEXEC = 012000000;
my $RESOLVE_NO_MAGICLINKS = 2;
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
  my ($folder, $path, $resolve) = @_;
  my $how = pack('QQQ', $O_PATH_CLOEXEC, 0, $resolve);
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

# Makes a network namespace with loopback up and keeps it by a bind mount at the path.
sub op_netns {
  my ($path) = @_;
  open(my $file, '>', $path) or die { errno => $! + 0, text => "open $path: $!" };
  close $file;
  open(my $home, '<', '/proc/self/ns/net') or die { errno => $! + 0, text => "open own netns: $!" };
  call('unshare', $CLONE_NEWNET);
  my $ok = eval {
    socket(my $socket, 2, 2, 0) or die { errno => $! + 0, text => "socket: $!" };
    my $request = pack('a16 s x22', 'lo', 0x1 | 0x40);
    ioctl($socket, 0x8914, $request) or die { errno => $! + 0, text => "lo up: $!" };
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

my %operations = (read => \&op_read, mount => \&op_mount, umount => \&op_umount, bind_beneath => \&op_bind_beneath, netns => \&op_netns, kill => \&op_kill);

$| = 1;
$0 = 'holdfast-syscalls';
while (my $line = <STDIN>) {
  chomp $line;
  my ($id, $name, @args) = map { s/%([0-9A-Fa-f]{2})/chr(hex($1))/ger } split /\t/, $line, -1;
  my $result = eval { [scalar(($operations{$name} // die { errno => 38, text => "no operation $name" })->(@args))] };
  if (defined $result) { print "$id\tok\t", $name eq 'read' ? $result->[0] : '', "\n"; next; }
  my ($errno, $text) = ref $@ eq 'HASH' ? ($@->{errno}, $@->{text}) : (5, "$@");
  $text =~ s/[\t\n]+/ /g;
  print "$id\t$errno\t$text\n";
}
