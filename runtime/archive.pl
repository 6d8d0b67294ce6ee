# Copies files into and out of a container as a tar stream, seen as the container sees them. Started by archive.ts, one
# for each copy. All paths are followed after we have moved into the container's root, so a link that a hostile
# container makes or swaps leads nowhere but there; and nothing is loaded or executed from then on, since it would be the
# container's. Arguments: MODE VIEW, see below. fd 3 is control, as in relay.pl: "started PID STAT", "failed ERRNO TEXT",
# "exit 0". ERRNO 1000: the archive is not sound. Loads nothing but strict and Config.
use strict;
use Config;

my ($mode, @args) = @ARGV;
my %numbers = $Config{archname} =~ /^aarch64/
  ? (capset => 91, chroot => 51, faccessat => 48, fchownat => 54, mknodat => 33, mount => 40, openat2 => 437, setns => 268, statfs => 43,
    unshare => 97, utimensat => 88, open_tree => 428, move_mount => 429, mount_setattr => 442)
  : (capset => 126, chroot => 161, faccessat => 269, fchownat => 260, mknodat => 259, mount => 165, openat2 => 437, setns => 308, statfs => 137,
    unshare => 272, utimensat => 280, open_tree => 428, move_mount => 429, mount_setattr => 442);
my ($F_SETFD, $FD_CLOEXEC) = (2, 1);
my ($CLONE_NEWNS, $CLONE_NEWUSER) = (0x00020000, 0x10000000);
my ($MS_RDONLY, $MS_REMOUNT, $MS_BIND, $MS_REC, $MS_PRIVATE) = (1, 32, 4096, 16384, 1 << 18);
my ($O_WRONLY, $O_CREAT, $O_EXCL, $O_NONBLOCK, $O_NOFOLLOW, $O_PATH, $O_CLOEXEC)
  = $Config{archname} =~ /^aarch64/
  ? (1, 0100, 0200, 04000, 0100000, 010000000, 02000000)
  : (1, 0100, 0200, 04000, 0400000, 010000000, 02000000);
my ($AT_FDCWD, $AT_SYMLINK_NOFOLLOW) = (-100, 0x100);
my ($S_IFMT, $S_IFIFO, $S_IFCHR, $S_IFDIR, $S_IFBLK, $S_IFREG, $S_IFLNK)
  = (0170000, 0010000, 0020000, 0040000, 0060000, 0100000, 0120000);
my ($ENOENT, $ESRCH, $ENOTDIR, $EISDIR, $unsound) = (2, 3, 20, 21, 1000);
my $chunk = 65536;

$0 = "holdfast-archive $mode";
open(my $control, '+<&=', 3) or die "no control: $!";
fcntl($control, $F_SETFD, $FD_CLOEXEC);
sub tell_us { my ($line) = @_; $line =~ s/[\r\n]+/ /g; syswrite($control, "$line\n"); }
sub give_up { my ($errno, $text) = @_; tell_us("failed $errno $text"); exit 1; }
$SIG{__DIE__} = sub { give_up(0, $_[0]); };
sub refuse { my ($what) = @_; give_up($! + 0, "$what: $!"); }

# VIEW running PID START_TICKS: the mount namespace of a process, and its user namespace.
sub enter_running {
  my ($pid, $start_ticks) = @_;
  my ($user_is_own, @spaces) = ((stat "/proc/$pid/ns/user")[1] == (stat '/proc/self/ns/user')[1]);
  for my $name ($user_is_own ? () : 'user', 'mnt') {
    open(my $space, '<', "/proc/$pid/ns/$name") or refuse("the container's namespace");
    push @spaces, [$space, $name eq 'user' ? $CLONE_NEWUSER : $CLONE_NEWNS];
  }
  # Only now: if it is still the one, then what was opened was its own.
  open(my $file, '<', "/proc/$pid/stat") or refuse('the container');
  my $stat = <$file>;
  $stat =~ s/^.*\)\s//s;
  give_up($ESRCH, 'the container has ended') unless ((split / /, $stat)[19] // '') eq $start_ticks;
  for my $space (@spaces) { syscall($numbers{setns}, fileno($space->[0]), $space->[1]) == 0 or refuse("the container's namespace"); }
  if (!$user_is_own) { ($(, $)) = (0, '0 0'); ($<, $>) = (0, 0); }
}

sub mount_at {
  my ($source, $target, $flags) = @_;
  my $empty = ''; # perl's syscall takes no constant
  syscall($numbers{mount}, $source, $target, $empty, $flags, $empty) == 0 or refuse("mount on $target");
}

# A bind mount that shows owners by a user namespace, as the container's own mounts of volumes do.
sub bind_mapped {
  my ($source, $target, $user) = @_;
  my ($clone_and_close, $recursive, $empty_path, $idmap) = (1 | $O_CLOEXEC, 0x8000, 0x1000, 0x100000);
  my $from_itself_to_link = 0x4 | 0x10; # the target is a link of /proc
  my ($empty, $attributes) = ('', pack('Q4', $idmap, 0, 0, fileno($user)));
  my $tree = syscall($numbers{open_tree}, $AT_FDCWD, $source, $clone_and_close | $recursive);
  refuse("open $source") if $tree == -1;
  syscall($numbers{mount_setattr}, $tree, $empty, $empty_path | $recursive, $attributes, length $attributes) == 0 or refuse("map $source");
  syscall($numbers{move_mount}, $tree, $empty, $AT_FDCWD, $target, $from_itself_to_link) == 0 or refuse("mount on $target");
}

# A path below a root that counts as /, as one that the kernel follows without a link: of a descriptor, which is returned
# too, since the path holds only as long as it does.
sub path_in_root {
  my ($root, $path) = @_;
  opendir(my $dir, $root) or refuse("open $root");
  my $how = pack('Q3', $O_PATH | $O_CLOEXEC, 0, 0x12); # RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
  my $fd = syscall($numbers{openat2}, fileno($dir), $path, $how, length $how);
  return () if $fd == -1;
  open(my $handle, '<&=', $fd) or refuse("open $path");
  return ("/proc/self/fd/$fd", $handle);
}

# VIEW stopped ROOT IS_READ_ONLY USER_NAMESPACE COUNT and so many times SOURCE TARGET IS_READ_ONLY: a root of the host, with
# volumes; both seen by the user namespace, if there is one. The root is mounted by it already.
sub enter_stopped {
  my ($root, $is_read_only, $user_namespace, $count, @mounts) = @_;
  my $user;
  if ($user_namespace ne '') { open($user, '<', $user_namespace) or refuse("the container's user namespace"); }
  syscall($numbers{unshare}, $CLONE_NEWNS) == 0 or refuse('unshare');
  mount_at('none', '/', $MS_REC | $MS_PRIVATE);
  mount_at($root, $root, $MS_BIND);
  if ($is_read_only) { mount_at('none', $root, $MS_BIND | $MS_REMOUNT | $MS_RDONLY); }
  for (1 .. $count) {
    my ($source, $target, $is_read_only_there) = splice(@mounts, 0, 3);
    my ($path, $handle) = path_in_root($root, $target);
    next unless defined $path;
    if (defined $user) { bind_mapped($source, $path, $user); }
    else { mount_at($source, $path, $MS_BIND | $MS_REC); }
    next unless $is_read_only_there;
    ($path, $handle) = path_in_root($root, $target);
    mount_at('none', $path, $MS_BIND | $MS_REMOUNT | $MS_RDONLY);
  }
  chdir $root or refuse("chdir $root");
  my $here = '.'; # perl's syscall takes no constant
  syscall($numbers{chroot}, $here) == 0 or refuse('chroot');
  chdir '/';
  if (defined $user) {
    syscall($numbers{setns}, fileno($user), $CLONE_NEWUSER) == 0 or refuse("the container's user namespace");
    ($(, $)) = (0, '0 0'); ($<, $>) = (0, 0);
  }
  return @mounts;
}

# What copying needs and no more: so a link through /proc of a container that sees the host's processes is refused, as
# their roots are open only to who may trace them.
sub drop_capabilities {
  my $kept = 0;
  $kept |= 1 << $_ for 0, 1, 2, 3, 4, 27, 31; # CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID MKNOD SETFCAP
  my ($header, $data) = (pack('L l', 0x20080522, 0), pack('L6', $kept, $kept, 0, 0, 0, 0));
  syscall($numbers{capset}, $header, $data) == 0 or refuse('capset');
}

# Of the host's /proc: by it a path is resolved after we have moved into the container's root.
opendir(my $descriptors, '/proc/self/fd') or refuse('/proc/self/fd');

# The path without links in our root; '' if nothing is there.
sub resolved {
  my ($path) = @_;
  sysopen(my $end, $path, $O_PATH | $O_CLOEXEC) or return '';
  my $number = fileno($end);
  chdir $descriptors or return '';
  my $name = readlink $number // '';
  chdir '/';
  return $name =~ m{^/} ? $name : '';
}

sub encode { my ($text) = @_; $text =~ s/([^A-Za-z0-9_.\/-])/sprintf '%%%02X', ord $1/ge; return $text; }

# ---- out

my ($written, %linked) = (0);

sub put {
  my ($data) = @_;
  $written += length $data;
  while ($data ne '') {
    my $count = syswrite(STDOUT, $data);
    exit 1 unless defined $count; # the reader went away
    substr($data, 0, $count) = '';
  }
}

sub pad { put("\0" x (-$written % 512)); }

sub header {
  my ($name, $link, $mode, $uid, $gid, $size, $mtime, $type, $major, $minor) = @_;
  my $block = pack('a100 a8 a8 a8 a12 a12 A8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12', $name,
    sprintf('%07o', $mode & 07777), sprintf('%07o', $uid & 07777777), sprintf('%07o', $gid & 07777777),
    sprintf('%011o', $size < 8 ** 11 ? $size : 0), sprintf('%011o', $mtime > 0 ? $mtime : 0), '', $type, $link,
    'ustar', '00', '', '', sprintf('%07o', $major), sprintf('%07o', $minor), '');
  substr($block, 148, 8) = sprintf("%06o\0 ", unpack('%32C*', $block));
  put($block);
}

# Values that the old header has no room for, before the header itself.
sub put_header {
  my ($name, $link, $mode, $uid, $gid, $size, $mtime, $type, $major, $minor) = @_;
  my %more;
  $more{path} = $name if length $name > 100;
  $more{linkpath} = $link if length $link > 100;
  $more{size} = $size if $size >= 8 ** 11;
  $more{uid} = $uid if $uid > 07777777;
  $more{gid} = $gid if $gid > 07777777;
  my $records = '';
  for my $key (sort keys %more) {
    my $rest = " $key=$more{$key}\n";
    my $length = length($rest) + 1;
    $length++ while length($length) + length($rest) > $length;
    $records .= "$length$rest";
  }
  if ($records ne '') {
    header('@PaxHeader', '', 0644, 0, 0, length $records, 0, 'x', 0, 0);
    put($records);
    pad();
  }
  header($name, $link, $mode, $uid, $gid, $size, $mtime, $type, $major // 0, $minor // 0);
}

# File systems of the kernel's own, whose files are no data: proc, sysfs, cgroup, cgroup2, devpts, mqueue, debugfs, tracefs,
# securityfs, bpf.
my %kernels = map { $_ => 1 } 0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x1cd1, 0x19800202, 0x64626720, 0x74726163, 0x73636673, 0xcafe4a11;
sub is_kernels {
  my ($path) = @_;
  my $buffer = "\0" x 256;
  return 0 if syscall($numbers{statfs}, $path, $buffer) != 0;
  return $kernels{unpack('Q', $buffer)};
}

# Something that goes away while we copy is left out; the one that was asked for must be there.
sub add {
  my ($path, $name, $device) = @_;
  my @stat = lstat $path or return;
  my ($dev, $inode, $mode, $links, $uid, $gid, $rdev, $size, $mtime) = @stat[0 .. 7, 9];
  my $kind = $mode & $S_IFMT;
  if ($kind == $S_IFDIR) {
    put_header($name =~ m{/$} ? $name : "$name/", '', $mode, $uid, $gid, 0, $mtime, '5');
    return if $dev != $device && is_kernels($path);
    opendir(my $dir, $path) or return;
    my @names = sort grep { !/^\.\.?$/ } readdir $dir;
    closedir $dir;
    add("$path/$_", $name eq '/' ? "/$_" : "$name/$_", $dev) for @names;
  } elsif ($kind == $S_IFLNK) {
    my $link = readlink $path // return;
    put_header($name, $link, 0777, $uid, $gid, 0, $mtime, '2');
  } elsif ($kind == $S_IFREG) {
    my $key = "$dev:$inode";
    if ($links > 1 && defined $linked{$key}) { put_header($name, $linked{$key}, $mode, $uid, $gid, 0, $mtime, '1'); return; }
    sysopen(my $file, $path, $O_NOFOLLOW | $O_NONBLOCK) or ($! == $ENOENT ? return : refuse("read $name"));
    # It may be another by now.
    ($dev, $inode, $mode, $uid, $gid, $size, $mtime) = (stat $file)[0, 1, 2, 4, 5, 7, 9];
    return unless ($mode & $S_IFMT) == $S_IFREG;
    $linked{$key} = $name if $links > 1;
    put_header($name, '', $mode, $uid, $gid, $size, $mtime, '0');
    my $left = $size;
    while ($left > 0) {
      my $count = sysread($file, my $data, $left < $chunk ? $left : $chunk);
      defined $count or refuse("read $name");
      # It was cut short meanwhile: the size is said already.
      $data = "\0" x ($left < $chunk ? $left : $chunk) if $count == 0;
      put($data);
      $left -= length $data;
    }
    pad();
  } elsif ($kind == $S_IFIFO) {
    put_header($name, '', $mode, $uid, $gid, 0, $mtime, '6');
  } elsif ($kind == $S_IFCHR || $kind == $S_IFBLK) {
    my ($major, $minor) = (($rdev >> 8) & 0xfff | ($rdev >> 32) & ~0xfff, $rdev & 0xff | ($rdev >> 12) & ~0xff);
    put_header($name, '', $mode, $uid, $gid, 0, $mtime, $kind == $S_IFCHR ? '3' : '4', $major, $minor);
  } # a socket is nothing without the program that serves it
}

# read PATH: the entry of the archive bears the last part of the path. A link is not followed unless a / comes after it.
sub run_read {
  my ($path) = @_;
  my @stat = lstat $path or refuse($path);
  my ($mode, $size, $mtime) = @stat[2, 7, 9];
  my ($name) = $path =~ m{([^/]+)/*$};
  $name //= '/';
  my $link = ($mode & $S_IFMT) == $S_IFLNK ? readlink $path : '';
  tell_us("started $$ " . join(' ', map { encode("=$_") } $name, $size, $mode, $mtime, $link, $link eq '' ? '' : resolved($path)));
  add($path, $name, $stat[0]);
  give_up($ENOENT, "$path went away") if $written == 0;
  put("\0" x 1024);
  put("\0" x (-$written % 10240));
  close(STDOUT);
  tell_us('exit 0');
}

# export: all of the root, without its own entry, by names that begin at it.
sub run_export {
  tell_us("started $$");
  opendir(my $dir, '/') or refuse('/');
  my @names = sort grep { !/^\.\.?$/ } readdir $dir;
  closedir $dir;
  my $device = (stat '/')[0];
  add("/$_", $_, $device) for @names;
  put("\0" x 1024);
  put("\0" x (-$written % 10240));
  close(STDOUT);
  tell_us('exit 0');
}

# ---- compared with its image

# VIEW compared ROOT UPPER LAYER...: /root is what the container sees, /upper its own layer, /image what its image has. All else
# is out of reach, so that a link which a running container makes meanwhile leads nowhere.
sub enter_compared {
  my ($root, $upper, @layers) = @_;
  syscall($numbers{unshare}, $CLONE_NEWNS) == 0 or refuse('unshare');
  mount_at('none', '/', $MS_REC | $MS_PRIVATE);
  my @from = (['root', $root], ['upper', $upper], map { ["layer$_", $layers[$_]] } 0 .. $#layers); # perl's syscall takes a number for one
  for (@from) { opendir(my $dir, $_->[1]) or refuse($_->[1]); push @$_, $dir; }
  my ($type, $none, $mode, $here) = ('tmpfs', 'none', 'mode=0700', '.'); # perl's syscall takes no constant
  syscall($numbers{mount}, $none, $root, $type, 0, $mode) == 0 or refuse("mount on $root");
  chdir $root or refuse("chdir $root");
  mkdir $_ or refuse($_) for 'image', map { $_->[0] } @from;
  mount_at('/proc/self/fd/' . fileno($_->[2]), $_->[0], $MS_BIND) for @from;
  if (@layers == 1) { mount_at('layer0', 'image', $MS_BIND); }
  else {
    my ($overlay, $image, $lower) = ('overlay', 'image', 'lowerdir=' . join(':', map { "layer$_" } 0 .. $#layers));
    syscall($numbers{mount}, $overlay, $image, $overlay, $MS_RDONLY, $lower) == 0 or refuse('mount of the image');
  }
  closedir($_->[2]) for @from;
  syscall($numbers{chroot}, $here) == 0 or refuse('chroot');
  chdir '/';
}

sub names_in { my ($path) = @_; opendir(my $dir, $path) or return (); return grep { !/^\.\.?$/ } readdir $dir; }
sub is_folder { my ($mode) = @_; return defined $mode && ($mode & $S_IFMT) == $S_IFDIR; }

# Marks: A added, C changed, D deleted; of a folder M: only its time is another, and -: it is as it was. Folders before what is
# in them.
sub compare {
  my ($path, $has_owners) = @_;
  my %upper = map { $_ => 1 } names_in("/upper$path");
  my ($hidden, @below) = grep { !$upper{$_} } is_folder((lstat "/image$path")[2]) ? names_in("/image$path") : ();
  # A folder that was removed and made again hides all that the image has there: one of them tells.
  my @gone = defined $hidden && !lstat "/root$path/$hidden" ? ($hidden, @below) : ();
  $upper{$_} = 0 for @gone;
  for my $name (sort keys %upper) {
    my $each = "$path/$name";
    if (!$upper{$name}) { put("D$each\0"); next; }
    my @mine = lstat "/upper$each" or next;
    my @images = lstat "/image$each";
    my $kind = $mine[2] & $S_IFMT;
    if ($kind == $S_IFCHR && $mine[6] == 0) { put("D$each\0") if @images; next; }
    if ($kind != $S_IFDIR || !is_folder($images[2])) { put((@images ? 'C' : 'A') . "$each\0"); }
    elsif ($mine[2] != $images[2] || $has_owners && "@mine[4, 5]" ne "@images[4, 5]") { put("C$each\0"); }
    else { put(($mine[9] != $images[9] ? 'M' : '-') . "$each\0"); }
    compare($each, $has_owners) if $kind == $S_IFDIR;
  }
}

# changes HAS_OWNERS: whether owners of the image are those that the container sees.
sub run_changes {
  my ($has_owners) = @_;
  tell_us("started $$");
  compare('', $has_owners);
  close(STDOUT);
  tell_us('exit 0');
}

# ---- in

sub take {
  my ($size) = @_;
  my $data = '';
  while (length $data < $size) {
    my $count = sysread(STDIN, $data, $size - length $data, length $data);
    defined $count or refuse('the archive');
    give_up($unsound, 'the archive ends in the middle of an entry; send it again') if $count == 0;
  }
  return $data;
}
sub skip { my ($size) = @_; while ($size > 0) { my $part = $size < $chunk ? $size : $chunk; take($part); $size -= $part; } }
sub padded { my ($size) = @_; return $size + (-$size % 512); }

sub number {
  my ($field) = @_;
  if (ord($field) & 0x80) { # GNU's way to write what is too big
    my $value = ord($field) & 0x7f;
    $value = $value * 256 + ord for split //, substr($field, 1);
    return $value;
  }
  return $field =~ /^[\0 ]*([0-7]+)/ ? oct($1) : 0;
}

sub pax {
  my ($text) = @_;
  my %found;
  while ($text =~ /^([0-9]+) /) {
    my $record = substr($text, 0, $1);
    last if length $record < $1 || $1 == 0;
    $text = substr($text, $1);
    $found{$1} = $2 if $record =~ /^[0-9]+ ([^=]+)=(.*)\n\z/s;
  }
  return %found;
}

# The parts of a name in the archive, which leads nowhere but down.
sub place {
  my ($name) = @_;
  my @parts = grep { $_ ne '' && $_ ne '.' } split m{/}, $name;
  give_up($unsound, "the archive's entry \"" . substr($name, 0, 200) . '" leads out of the folder; it holds ".."') if grep { $_ eq '..' } @parts;
  give_up($unsound, "the archive has a name with a NUL byte") if $name =~ /\0/;
  return join('/', @parts);
}

my ($owner, $is_strict, @folders);

sub make_parents {
  my ($path) = @_;
  my @parts = split m{/}, $path;
  pop @parts;
  my $made = '';
  for my $part (@parts) {
    $made = $made eq '' ? $part : "$made/$part";
    next if -d $made;
    mkdir($made, 0755) or refuse($made);
  }
}

# Clears the way for an entry of another kind than what is there.
sub clear {
  my ($path) = @_;
  my @stat = lstat $path or return;
  if (($stat[2] & $S_IFMT) == $S_IFDIR) {
    give_up($EISDIR, "$path: a folder is there, and the archive has something else; choose another place") if $is_strict;
    rmdir $path or refuse("$path: the folder there");
  } else {
    unlink $path or refuse($path);
  }
}

sub owner_of { my ($entry) = @_; return $owner eq 'archive' ? ($entry->{uid} + 0, $entry->{gid} + 0) : (0, 0); }

sub dress {
  my ($path, $is_link, $entry) = @_;
  my ($uid, $gid) = owner_of($entry);
  syscall($numbers{fchownat}, $AT_FDCWD, $path, $uid, $gid, $AT_SYMLINK_NOFOLLOW) == 0 or refuse("owner of $path");
  if (!$is_link) { chmod($entry->{mode} & 07777, $path) or refuse("mode of $path"); }
  stamp($path, $entry->{mtime});
}
sub stamp {
  my ($path, $seconds) = @_;
  my $times = pack('q4', $seconds, 0, $seconds, 0);
  syscall($numbers{utimensat}, $AT_FDCWD, $path, $times, $AT_SYMLINK_NOFOLLOW); # not worth a failure
}

sub unpack_entry {
  my ($entry) = @_;
  my ($path, $type) = (place($entry->{name}), $entry->{type});
  $type = '5' if $type =~ /^[0\0]$/ && $entry->{name} =~ m{/$}; # as tar did before 1988
  if ($type eq '5') {
    if ($path ne '') {
      make_parents($path);
      my $is_there = -d $path;
      if (!$is_there) {
        if (lstat $path) {
          give_up($ENOTDIR, "$path: something else is there, and the archive has a folder; choose another place") if $is_strict;
          clear($path);
        }
        mkdir($path, 0700) or refuse($path);
      }
      # A link to a folder stays what it is.
      if (!-l $path) { dress($path, 0, $entry); push @folders, [$path, $entry->{mtime}]; }
    }
    skip(padded($entry->{size}));
    return;
  }
  give_up($unsound, 'the archive has an entry without a name') if $path eq '';
  give_up($unsound, "$path: devices are not copied; leave it out of the archive") if $type =~ /^[34]$/;
  give_up($unsound, "$path: an entry of type \"" . encode($type) . '" is not supported; write the archive in the pax or ustar format') unless $type =~ /^[01267\0]$/;
  make_parents($path);
  if ($type eq '1') {
    # Looked for before what is there goes: it may be the same.
    my $target = place($entry->{link});
    if (lstat $target) {
      my ($from, $to) = map { join ':', (lstat $_)[0, 1] } $target, $path;
      if ($from ne $to) { clear($path); link($target, $path) or refuse($path); }
    } else { refuse("$path: link to $target"); }
  } elsif ($type eq '2') {
    clear($path);
    symlink($entry->{link}, $path) or refuse($path);
    dress($path, 1, $entry);
  } elsif ($type eq '6') {
    clear($path);
    syscall($numbers{mknodat}, $AT_FDCWD, $path, $S_IFIFO | 0600, 0) == 0 or refuse($path);
    dress($path, 0, $entry);
  } else {
    clear($path);
    sysopen(my $file, $path, $O_WRONLY | $O_CREAT | $O_EXCL | $O_NOFOLLOW, 0600) or refuse($path);
    my $left = $entry->{size};
    while ($left > 0) {
      my $data = take($left < $chunk ? $left : $chunk);
      $left -= length $data;
      while ($data ne '') { my $count = syswrite($file, $data) // refuse($path); substr($data, 0, $count) = ''; }
    }
    # Of the file itself: by its name it may be another by now, which must not get the mode of this one.
    my ($uid, $gid) = owner_of($entry);
    chown($uid, $gid, $file) or refuse("owner of $path");
    chmod($entry->{mode} & 07777, $file) or refuse("mode of $path");
    close($file) or refuse($path);
    skip(-$entry->{size} % 512);
    stamp($path, $entry->{mtime});
    return;
  }
  skip(padded($entry->{size}));
}

# write DIR OWNER IS_STRICT: unpacks below DIR. OWNER: "archive" or "root". IS_STRICT: no folder takes the place of
# something else, nor the other way about.
sub run_write {
  my ($dir) = @_;
  ($dir, $owner, $is_strict) = @_;
  umask 0;
  chdir $dir or refuse($dir);
  # Said before anything is read, or who sends would not learn it.
  my $here = '.'; # perl's syscall takes no constant
  syscall($numbers{faccessat}, $AT_FDCWD, $here, 2) == 0 or refuse($dir);
  tell_us("started $$");
  my (%next);
  for (;;) {
    my $first = sysread(STDIN, my $block, 512);
    defined $first or refuse('the archive');
    last if $first == 0;
    $block .= take(512 - $first) if $first < 512;
    last if $block eq "\0" x 512;
    my ($name, $mode, $uid, $gid, $size, $mtime, $sum, $type, $link, $magic, $prefix)
      = unpack('Z100 a8 a8 a8 a12 a12 a8 a1 Z100 a6 x2 x32 x32 x8 x8 Z155', $block);
    my $summed = $block;
    substr($summed, 148, 8) = ' ' x 8;
    give_up($unsound, 'this is no tar archive, or it is damaged; send one that is not compressed') unless number($sum) == unpack('%32C*', $summed);
    my %entry = (name => $prefix ne '' && $magic eq "ustar\0" ? "$prefix/$name" : $name, link => $link, type => $type,
      mode => number($mode), uid => number($uid), gid => number($gid), size => number($size), mtime => number($mtime));
    if ($type =~ /^[xgLK]$/) {
      give_up($unsound, 'the archive has a header of more than a megabyte') if $entry{size} > 1 << 20;
      my $data = take(padded($entry{size}));
      substr($data, $entry{size}) = '';
      if ($type eq 'x') {
        my %found = pax($data);
        give_up($unsound, 'the archive has a sparse file; write it without') if grep { /^GNU\.sparse\./ } keys %found;
        $next{name} = $found{path} if defined $found{path};
        $next{link} = $found{linkpath} if defined $found{linkpath};
        for my $key ('uid', 'gid', 'size') { $next{$key} = $found{$key} + 0 if defined $found{$key}; }
        $next{mtime} = int $found{mtime} if defined $found{mtime};
      } elsif ($type ne 'g') {
        $data =~ s/\0.*//s;
        $next{$type eq 'L' ? 'name' : 'link'} = $data;
      }
      next;
    }
    unpack_entry({ %entry, %next });
    %next = ();
  }
  while (sysread(STDIN, my $rest, $chunk)) {} # padding
  stamp(@$_) for reverse @folders;
  tell_us('exit 0');
}

my ($view, @rest) = @args;
if ($view eq 'running') { enter_running(splice(@rest, 0, 2)); }
elsif ($view eq 'stopped') { @rest = enter_stopped(@rest); }
elsif ($view eq 'compared') { my $count = shift @rest; enter_compared(splice(@rest, 0, 2 + $count)); }
else { give_up(0, "no view $view"); }
drop_capabilities();
my %modes = (read => \&run_read, export => \&run_export, write => \&run_write, changes => \&run_changes);
($modes{$mode} // sub { give_up(0, "no mode $mode"); })->(@rest);
