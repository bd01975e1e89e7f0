# Sends and hears the frames of the leak matrix in many network namespaces of a server; see wire.ts.
use strict; use warnings; use Socket; use IO::Select;

my $setns = `uname -m` =~ /aarch64/ ? 268 : 308;
open(my $home, "<", "/proc/self/ns/net") or die $!;
sub enter { my $path = shift; open(my $ns, "<", $path) or die "$path: $!"; syscall($setns, fileno($ns), 0x40000000) == 0 or die "$path: $!"; }
sub leave { syscall($setns, fileno($home), 0x40000000) == 0 or die $!; }
if ($ARGV[0] eq "send") {
  # A line each: "at NAMESPACE INDEX", then its frames.
  my ($s, $to, $n) = (undef, undef, 0);
  while (my $line = <STDIN>) {
    chomp $line;
    if ($line =~ /^at (\S+) (\d+)$/) {
      enter($1); socket($s, 17, 3, 0) or die $!; leave();
      $to = pack("SnLSCCa8", 17, 0, $2, 1, 0, 6, ""); next;
    }
    send($s, pack("H*", $line), 0, $to) // warn "$!: $line";
    select(undef, undef, undef, 0.004) if ++$n % 25 == 0;
  }
  print "$n\n"; exit 0;
}

# Hears until its input ends. A line each: "station NAME NAMESPACE"; "host NAME"; "go".
my (%name, %is_host, %seen); my $select = IO::Select->new(\*STDIN);
sub hear { my ($s, $name, $host) = @_; setsockopt($s, SOL_SOCKET, 33, pack("L", 32 << 20)); $name{$s} = $name; $is_host{$s} = $host; $select->add($s); }
while (my $line = <STDIN>) {
  last if $line =~ /^go/;
  if ($line =~ /^station (\S+) (\S+)/) { enter($2); socket(my $s, 17, 3, 0x0300) or die $!; leave(); hear($s, $1, 0); }
  # What the server has let in: raw sockets get it after all filters.
  if ($line =~ /^host (\S+)/) {
    for my $p (17, 6, 1) { socket(my $s, AF_INET, SOCK_RAW, $p) or die $!; hear($s, $1, 4); }
    for my $p (17, 6, 58) { socket(my $s, 10, SOCK_RAW, $p) or die $!; hear($s, $1, "6.$p"); }
  }
}
$| = 1; print "ready\n";
my ($ports, $mark) = ($ARGV[1], $ARGV[2]);
my %tunnel = map { $_ => 1 } split /,/, $ports;
# Servers' own tunnels carry what systems may say to one another.
sub is_carried { my ($f, $s) = @_;
  return $is_host{$s} eq "4" && ord(substr($f, 9, 1)) == 17 && $tunnel{unpack("n", substr($f, 22, 2))} && ord(substr($f, 35, 1)) != $mark; }
sub is_error { my ($f, $s) = @_; my $kind = $is_host{$s};
  if (!$kind) {
    my $type = unpack("n", substr($f, 12, 2));
    if ($type == 0x0800 && length($f) > 34) { return ord(substr($f, 23, 1)) == 1 && ord(substr($f, 34, 1)) =~ /^(3|11|12)$/; }
    if ($type == 0x86dd && length($f) > 54) { return ord(substr($f, 20, 1)) == 58 && ord(substr($f, 54, 1)) <= 4; }
    return 0;
  }
  if ($kind eq "4") { my $p = ord(substr($f, 9, 1));
    return $p == 1 && ord(substr($f, 20, 1)) =~ /^(0|3|11|12)$/; }
  return 1 if $kind eq "6.58" && ord(substr($f, 0, 1)) =~ /^(1|2|3|4|129)$/;
  return 0;
}
my $end = 0;
# Raw sockets hear all that the server hears: there may never be silence.
while (my @ready = $select->can_read($end ? 0.5 : undef)) {
  last if $end && time() > $end + 5;
  for my $s (@ready) {
    if ($s == \*STDIN) { if (!sysread(STDIN, my $more, 100)) { $select->remove($s); $end = time(); } next; }
    my $from = recv($s, my $f, 9100, 0x40); next unless defined $from;
    # An error that is a cell by itself has a tag of its own.
    my @ids = $f =~ /f[ef]!([0-9a-f]{6})!/g or next;
    next if is_carried($f, $s) || ($f !~ /fe!/ && is_error($f, $s));
    my $how = !$is_host{$s} && unpack("x10C", $from) == 4 ? " sent" : "";
    $seen{"$name{$s}$how"}{$_} = 1 for @ids;
  }
}
for my $who (sort keys %seen) { print "$who: ", join(" ", sort keys %{$seen{$who}}), "\n"; }
